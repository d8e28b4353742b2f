"""The options of `memory://[NAME]`, and what the store can do with any of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

CAPABILITIES = Capabilities(
    max_batch=None,
    unscoped_listing=True,
    strong_listing=True,
    listing_totals=True,
    ascending_listing=True,
    activity_listing=True,
    text_search=True,
    atomic_turns=True,
    overlapping_batches=True,
    tail_replacement=True,
    forks=True,
    conditional_delete=True,
    owner_guard=True,
    namespace_views=True,
)


class MemoryOptions(BackendOptions):
    """`name` shares a store within the process; without one, every open gets a store of its own."""

    name: str | None = Field(default=None, max_length=128)

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.user or url.password or url.port or url.path.strip("/"):
            raise ConfigError("a memory:// URL is memory:// or memory://NAME")
        return {"name": url.host} if url.host else {}
