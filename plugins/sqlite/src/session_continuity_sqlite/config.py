"""The options of `sqlite:///PATH`, and what the store can do with any of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

CAPABILITIES = Capabilities(
    max_turn=None,
    unscoped_listing=True,
    indexed_listing=True,
    strong_listing=True,
    listing_totals=True,
    durable=True,
    shared=True,
)

Synchronous = Literal["normal", "full"]

_IN_MEMORY = "SQLite in memory is neither durable nor shared; use memory://, or name a file: sqlite:///chat.db"


class SqliteOptions(BackendOptions):
    """`path` is the database file; its directory must exist."""

    path: str = Field(min_length=1, description="The database file, relative to the working directory or absolute.")
    busy_timeout: float = Field(
        default=10.0, ge=0, le=3600, description="Seconds to wait for another writer's turn to end."
    )
    synchronous: Synchronous = Field(
        default="normal",
        description="What an acknowledged write survives: `normal` the death of the process, `full` a power loss too.",
    )

    @field_validator("path")
    @classmethod
    def _is_a_file(cls, path: str) -> str:
        if path == ":memory:":
            raise ValueError(_IN_MEMORY)
        if "\0" in path:
            raise ValueError("a path holds no NUL character")
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
