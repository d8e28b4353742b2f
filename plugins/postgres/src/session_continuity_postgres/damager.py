"""Damages a session or a message in the database, for the conformance suite."""

from __future__ import annotations

import psycopg

from session_continuity import ConfigError, StorageAdapter
from session_continuity_postgres.adapter import PostgresStorage
from session_continuity_postgres.codec import key
from session_continuity_postgres.connections import OwnedConnections

_KEY = "(SELECT key FROM {schema}.sessions WHERE namespace = %s AND id = %s)"
_SESSION = f"UPDATE {{schema}}.sessions SET metadata = '{{\"title\":' WHERE key = {_KEY}"
_MESSAGE = f"UPDATE {{schema}}.messages SET content = NULL, blocks = '[{{' WHERE session_key = {_KEY} AND id = %s"


def damage(adapter: StorageAdapter, session_id: str, message_id: str | None) -> None:
    """Make a part of a session or of a message text that is not JSON, in the adapter's namespace."""
    if not isinstance(adapter, PostgresStorage) or not isinstance(adapter.native.connections, OwnedConnections):
        raise ConfigError("this damages a PostgresStorage that was opened by its URL")
    database = adapter.native
    values = [database.namespace, key(session_id), *([] if message_id is None else [key(message_id)])]
    text = (_SESSION if message_id is None else _MESSAGE).replace("{schema}", database.schema)
    with psycopg.connect(**adapter.native.connections.arguments) as connection:
        connection.execute(text.encode(), values)
