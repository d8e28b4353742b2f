"""Damages a session or a message on the server, for the conformance suite."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from session_continuity import ConfigError, StorageAdapter, run_now
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
    else:  # an event loop may run in this thread
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, work).result()
