"""Damages META or a message, for the conformance suite."""

from __future__ import annotations

from session_continuity import ConfigError, StorageAdapter, run_now
from session_continuity_firestore.adapter import FirestoreStorage
from session_continuity_firestore.config import FirestoreOptions
from session_continuity_firestore.documents import names
from session_continuity_firestore.requests.client import Connection
from session_continuity_firestore.requests.writes import change
from session_continuity_firestore.wire.values import encode


def damage(adapter: StorageAdapter, session_id: str, message_id: str | None) -> None:
    """Make the metadata of a session, or the content of a message, a number."""
    if not isinstance(adapter, FirestoreStorage):
        raise ConfigError("this damages a FirestoreStorage")
    where = adapter.context.names
    if message_id is None:
        write = change(where.session(session_id), {names.METADATA: encode(7)})
    else:
        write = change(where.message(session_id, message_id), {names.CONTENT: encode(7)})
    run_now(_commit(adapter.options, write))


async def _commit(options: FirestoreOptions, write: object) -> None:
    client = Connection.from_options(options, "blocking")
    try:
        await client.commit([write])
    finally:
        await client.close()
