"""What a store can do beyond what every store must: data only, closed unless declared, per opened instance."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Capabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Optional features and limits. Core refuses what is not declared before the store is asked."""

    max_turn: int | None = 1
    """Messages that one append stores all or none; None for no limit."""

    unscoped_listing: bool = False
    """`list_sessions` works without a user and without an agent."""

    indexed_listing: bool = False
    """An unscoped listing reads an index, not the whole store."""

    strong_listing: bool = False
    """A listing shows every write acknowledged before it; otherwise it may lag behind by moments."""

    listing_totals: bool = False
    """The sessions of a listing carry their totals as `get_session` gives them."""

    native_expiry: bool = False
    """The store removes expired sessions by itself, some time after they became invisible."""

    server_clock: bool = False
    """The store's server judges expiry, so that `StorageAdapter.clock` cannot move it."""

    durable: bool = False
    """An acknowledged write survives the end of the process."""

    shared: bool = False
    """Other processes see the same data."""

    change_feed: bool = False
    """Writes can be followed as a stream."""

    max_message_bytes: int | None = None
    """The largest message, encoded; None for no limit."""
