"""`Capabilities`: optional features and limits of an opened store. Data only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Capabilities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Optional features and limits of one adapter. Core refuses a feature that is not declared, before any I/O."""

    max_batch: int | None = 1
    """The most messages that one append stores atomically. None: no limit."""

    unscoped_listing: bool = False
    """`list_sessions` works without `user_id` and `active_agent_id`."""

    strong_listing: bool = False
    """A listing shows every write acknowledged before it. Without it, a listing may lag behind for a moment."""

    listing_totals: bool = False
    """The sessions of a listing have current totals, as `get_session` returns them."""

    ascending_listing: bool = False
    """`list_sessions` takes the order `oldest`."""

    activity_listing: bool = False
    """`list_sessions` takes the orders `recent` and `idle`, and its sessions then have current totals."""

    server_clock: bool = False
    """The store's server decides what has expired, so replacing `StorageAdapter.clock` does not change it."""

    durable: bool = False
    """An acknowledged write survives the end of the process."""

    shared: bool = False
    """Other processes see the same data."""

    max_message_bytes: int | None = None
    """The size limit of one encoded message. None: no limit."""

    atomic_turns: bool = False
    """`append_messages` takes `patch`, `expected_version` and `expected_last_id`."""

    overlapping_batches: bool = False
    """`append_messages` takes `existing` and `create`."""

    tail_replacement: bool = False
    """`replace_tail` works."""

    forks: bool = False
    """`fork_session` and `list_forks` work."""

    text_search: bool = False
    """`search_messages` works."""

    conditional_delete: bool = False
    """`delete_session` takes `expected_version`."""

    owner_guard: bool = False
    """`view` takes an owner: the store checks whose session it is in the request itself."""

    namespace_views: bool = False
    """`view` takes a namespace."""
