"""Damages a session or a message on the server, for the conformance suite."""

from __future__ import annotations

from contextlib import closing

from session_continuity import ConfigError, Portal, StorageAdapter, run_now
from session_continuity_redis.adapter import RedisStorage
from session_continuity_redis.scripts import DAMAGE


def damage(adapter: StorageAdapter, session_id: str, message_id: str | None) -> None:
    """Cut off the beginning of a message, or of the piece with a session's id, in the adapter's namespace.

    Raises ConfigError for another store's adapter.
    """
    if not isinstance(adapter, RedisStorage):
        raise ConfigError(f"this damages what a RedisStorage keeps, not {type(adapter).__name__}")
    work = adapter.native.run(DAMAGE, session_id, message_id or "")
    if adapter.mode == "blocking":
        run_now(work)
    else:
        with closing(Portal()) as portal:  # an event loop may run in this thread
            portal.run(work)
