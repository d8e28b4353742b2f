"""Damages a session or a message in the file, for the conformance suite."""

from __future__ import annotations

import sqlite3

from session_continuity import ConfigError, StorageAdapter
from session_continuity_sqlite.adapter import SqliteStorage

_KEY = "(SELECT key FROM sessions WHERE namespace = ? AND id = ?)"
_SESSION = f"UPDATE session_bodies SET body = substr(body, 2) WHERE session = {_KEY}"
_MESSAGE = f"""
    UPDATE messages SET body = '{{"content":' || coalesce(content, '') WHERE session = {_KEY} AND id = ?"""


def damage(adapter: StorageAdapter, session_id: str, message_id: str | None) -> None:
    """Make the body of a session or of a message text that is not JSON, in the adapter's namespace."""
    if not isinstance(adapter, SqliteStorage):
        raise ConfigError("this damages a SqliteStorage")

    def job(connection: sqlite3.Connection) -> None:
        if message_id is None:
            connection.execute(_SESSION, (adapter.namespace, session_id))
        else:
            connection.execute(_MESSAGE, (adapter.namespace, session_id, message_id))

    adapter.native.write(job)
