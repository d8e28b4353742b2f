"""Appends and the replacement of a tail.

Each function runs on one connection, inside its caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace

from session_continuity import (
    Appended,
    AppendTerms,
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    Replaced,
    Session,
    SessionNotFoundError,
    ValidationError,
    is_same_tail,
    messages_to_store,
    with_stored,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.message_pages import COLUMNS, get
from session_continuity_sqlite.message_rows import StoredIdError, store, store_checked
from session_continuity_sqlite.schema import SEQUENCE_BITS
from session_continuity_sqlite.session_rows import Scope, SessionState

_LAST_ID = "SELECT id FROM messages WHERE place > ? AND place < ? ORDER BY place DESC LIMIT 1"

_PLACE = "SELECT place, created_at FROM messages WHERE session = ? AND id = ?"

_TAIL = f"SELECT {COLUMNS} FROM messages WHERE place > ? AND place < ? ORDER BY place LIMIT ?"

_TAIL_TOTALS = "SELECT count(*), coalesce(sum(tokens), 0) FROM messages WHERE place > ? AND place < ?"

_DELETE_TAIL = "DELETE FROM messages WHERE place > ? AND place < ?"

_COUNT_REMOVED = """
    UPDATE sessions SET message_count = message_count - ?, token_count = token_count - ?, last_message_at = ?
    WHERE key = ?"""

_NO_LIMIT = -1


def append(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Store the batch in two statements if there are no terms and nothing prevents it, otherwise by `append_checked`.

    Raises StoredIdError if an id is taken. The transaction must then be rolled back, and `append_checked` called.
    """
    if not terms and (stored := store(connection, scope, session_id, messages)):
        return Appended(messages=tuple(stored.messages), slides=stored.slides)
    return append_checked(connection, scope, session_id, messages, client_ids, terms)


def append_checked(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Store what is new in the batch, and do what the terms say. Raises what the contract says."""
    create = terms.get("create")
    state = session_rows.find_state(connection, scope, session_id)
    if state is None and create is not None:
        return _append_to_new(connection, scope, create, messages, client_ids, terms)
    if state is None:
        raise SessionNotFoundError(session_id)
    stored = [get(connection, scope, session_id, message.id) for message in messages]
    new = messages_to_store(stored, messages, terms.get("existing", "refuse"))
    if not new:
        return Appended(messages=with_stored(stored, ()), repeated=True)
    _check_last(connection, session_id, state.key, terms.get("expected_last_id"))
    session_rows.check_version(connection, scope, session_id, terms.get("expected_version"))
    added = store_checked(connection, scope, session_id, state, new, client_ids)
    _apply_patch(connection, scope, session_id, terms)
    slides = added.slides if terms.get("patch") is None else None
    return Appended(messages=with_stored(stored, added.messages), slides=slides)


def replace_tail(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    after_id: str | None,
    messages: Sequence[Message],
    client_ids: Collection[str],
    expected_last_id: str | None,
    return_removed: bool,
) -> Replaced:
    """Remove the messages after one of them, and store a batch in their place. Raises what the contract says."""
    state = session_rows.get_state(connection, scope, session_id)
    after, last_at = _place(connection, session_id, state.key, after_id)
    tail = (after, (state.key + 1) << SEQUENCE_BITS)
    beginning = _messages(connection, session_id, tail, len(messages) + 1)
    if is_same_tail(beginning, messages):
        return Replaced(messages=tuple(beginning), repeated=True)
    _check_last(connection, session_id, state.key, expected_last_id)
    removed = _messages(connection, session_id, tail, _NO_LIMIT) if return_removed else []
    ((count, tokens),) = connection.execute(_TAIL_TOTALS, tail).fetchall()
    connection.execute(_DELETE_TAIL, tail)
    connection.execute(_COUNT_REMOVED, (count, tokens, last_at, state.key))
    left = state._replace(token_count=state.token_count - tokens, last_message_at=last_at)
    added = _store_tail(connection, scope, session_id, left, messages, client_ids) if messages else ()
    return Replaced(messages=tuple(added), removed_count=count, removed=tuple(removed))


def _append_to_new(
    connection: sqlite3.Connection,
    scope: Scope,
    session: Session,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    session_rows.create(connection, scope, session)
    without_create: AppendTerms = {"patch": terms.get("patch")}
    appended = append_checked(connection, scope, session.id, messages, client_ids, without_create)
    return replace(appended, created=True)


def _apply_patch(connection: sqlite3.Connection, scope: Scope, session_id: str, terms: AppendTerms) -> None:
    patch = terms.get("patch")
    if patch is not None:
        session_rows.update(connection, scope, session_id, patch, None)


def _check_last(connection: sqlite3.Connection, session_id: str, key: int, expected: str | None) -> None:
    if expected is None:
        return
    rows = connection.execute(_LAST_ID, (key << SEQUENCE_BITS, (key + 1) << SEQUENCE_BITS)).fetchall()
    last = rows[0][0] if rows else ""
    if last != expected:
        raise ConversationChangedError(session_id, expected_last_id=expected, last_id=last)


def _place(connection: sqlite3.Connection, session_id: str, key: int, message_id: str | None) -> tuple[int, str | None]:
    """The place and the time of a message, for None those of the beginning. Raises MessageNotFoundError."""
    if message_id is None:
        return key << SEQUENCE_BITS, None
    rows = connection.execute(_PLACE, (key, message_id)).fetchall()
    if not rows:
        raise MessageNotFoundError(session_id, message_id)
    place, created_at = rows[0]
    return place, created_at


def _messages(connection: sqlite3.Connection, session_id: str, places: tuple[int, int], limit: int) -> list[Message]:
    return codec.read_messages(session_id, connection.execute(_TAIL, (*places, limit)).fetchall())


def _store_tail(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    state: SessionState,
    messages: Sequence[Message],
    client_ids: Collection[str],
) -> Sequence[Message]:
    try:
        return store_checked(connection, scope, session_id, state, messages, client_ids).messages
    except StoredIdError:
        raise ValidationError("an id of the batch belongs to a message that stays; choose a new id") from None
