"""The options of `sqlite:///PATH`, and the store's capabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

BACKEND = "sqlite"

CAPABILITIES = Capabilities(
    max_batch=None,
    unscoped_listing=True,
    strong_listing=True,
    listing_totals=True,
    ascending_listing=True,
    activity_listing=True,
    durable=True,
    shared=True,
    atomic_turns=True,
    overlapping_batches=True,
    tail_replacement=True,
    forks=True,
    conditional_delete=True,
    owner_guard=True,
    namespace_views=True,
)


def capabilities_with(*, search: bool) -> Capabilities:
    """What the store can do with these options."""
    return replace(CAPABILITIES, text_search=search)


Synchronous = Literal["normal", "full"]

_IN_MEMORY = "a SQLite database in memory is not durable; use memory://, or name a file: sqlite:///chat.db"


class SqliteOptions(BackendOptions):
    """The options of a database file. The directory of `path` must exist."""

    path: str = Field(min_length=1, description="The database file, relative to the working directory or absolute.")
    busy_timeout: float = Field(
        default=10.0, ge=0, le=3600, description="Seconds that a write waits for other writers."
    )
    synchronous: Synchronous = Field(
        default="normal",
        description="What an acknowledged write survives: `normal` the process's death, `full` a power failure too.",
    )

    search: bool = Field(
        default=False, description="Whether messages can be searched. Builds an index of their words in the file."
    )

    @field_validator("path")
    @classmethod
    def _is_a_file(cls, path: str) -> str:
        if path == ":memory:":
            raise ValueError(_IN_MEMORY)
        if "\0" in path:
            raise ValueError("must not have a NUL character")
        return path

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.user or url.password or url.host or url.port:
            raise ConfigError(
                "a sqlite:// URL has no host: write sqlite:///relative.db, or, with four slashes, sqlite:////absolute.db"
            )
        path = url.path[1:]
        if path in ("", ":memory:"):
            raise ConfigError(_IN_MEMORY)
        return {"path": path}
