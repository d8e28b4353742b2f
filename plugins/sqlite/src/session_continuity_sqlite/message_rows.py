"""The statements that write messages. Each function runs on one connection, inside its caller's transaction.

A message's place is `key << 32 | sequence`, so the messages of a session are one range of the table, in conversation
order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import NamedTuple

from session_continuity import (
    Message,
    MessageNotFoundError,
    MessageTooLargeError,
    Patch,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
    format_timestamp,
    move_to,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.errors import TOO_MANY_TOKENS
from session_continuity_sqlite.message_pages import ONE_MESSAGE
from session_continuity_sqlite.schema import LARGEST_COUNT, SEQUENCE_BITS
from session_continuity_sqlite.session_rows import KEY, MINE, SLIDES, Scope, SessionState

_OPEN = ("active", "paused")
_OTHER_COLUMNS = 4096  # bytes, more than a row's columns beside content and body can take

# Checks and counts in one statement: what it does not match is refused by `store_checked`, with the reason.
_COUNT_BATCH = f"""
    UPDATE sessions
    SET message_count = message_count + :count, token_count = token_count + :tokens,
        last_sequence = last_sequence + :count, last_message_at = :last,
        last_activity_at = max(last_activity_at, :last)
    WHERE {MINE} AND status IN {_OPEN}
        AND token_count + :tokens <= coalesce(hard_limit, {LARGEST_COUNT})
        AND (last_message_at IS NULL OR last_message_at <= :first)
    RETURNING key, last_sequence, {SLIDES}"""

_INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

_DELETE = f"DELETE FROM messages WHERE session = {KEY} AND id = :message_id RETURNING session, tokens"

_COUNT_DELETED = """
    UPDATE sessions
    SET message_count = message_count - 1, token_count = token_count - :tokens,
        last_message_at = (SELECT max(created_at) FROM messages WHERE session = :key)
    WHERE key = :key"""

_COUNT_NOTHING = "UPDATE sessions SET message_count = 0, token_count = 0, last_message_at = NULL WHERE key = ?"


class Stored(NamedTuple):
    """A batch as it was stored. `slides` is whether its session has an expiry and a `sliding_ttl`."""

    messages: Sequence[Message]
    slides: bool


class StoredIdError(Exception):
    """An id of the batch is stored already. `turns.append_checked` finds out what that means."""


def store_checked(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    state: SessionState,
    messages: Sequence[Message],
    client_ids: Collection[str],
) -> Stored:
    """Store messages that have new ids, moved in time if they must be.

    Raises the reason why they cannot be stored.
    """
    _check_gate(session_id, state, messages)
    moved = _move(messages, state.last_message_at, client_ids)
    stored = store(connection, scope, session_id, moved)
    if stored is None:
        raise SessionNotFoundError(session_id)  # expired between the two looks at the clock
    return stored


def update(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str, patch: Patch) -> Message:
    """Change a message, and the session's tokens with it. Raises SessionNotFoundError and MessageNotFoundError."""
    rows = connection.execute(ONE_MESSAGE, scope.parameters(session_id, message_id=message_id)).fetchall()
    if not rows:
        session_rows.get_state(connection, scope, session_id)
        raise MessageNotFoundError(session_id, message_id)
    ((key, *row),) = rows
    (current,) = codec.read_messages(session_id, [tuple(row)])
    changed = patch.apply(current)
    _replace(connection, row[0], current, changed)
    more = (changed.token_count or 0) - (current.token_count or 0)
    if more:
        connection.execute("UPDATE sessions SET token_count = token_count + ? WHERE key = ?", (more, key))
    return codec.detach(changed)


def delete(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str) -> bool:
    """Delete a message, and return whether there was one. Raises SessionNotFoundError."""
    rows = connection.execute(_DELETE, scope.parameters(session_id, message_id=message_id)).fetchall()
    if not rows:
        session_rows.get_state(connection, scope, session_id)
        return False
    ((key, tokens),) = rows
    connection.execute(_COUNT_DELETED, {"key": key, "tokens": tokens})
    return True


def clear(connection: sqlite3.Connection, scope: Scope, session_id: str) -> int:
    """Delete all messages, and return how many there were. Raises SessionNotFoundError."""
    key = session_rows.get_state(connection, scope, session_id).key
    count = connection.execute("DELETE FROM messages WHERE session = ?", (key,)).rowcount
    connection.execute(_COUNT_NOTHING, (key,))
    return count


def store(connection: sqlite3.Connection, scope: Scope, session_id: str, messages: Sequence[Message]) -> Stored | None:
    """Store a batch. None if the session does not accept it as it is."""
    times = [format_timestamp(message.created_at) for message in messages]
    tokens = [message.token_count or 0 for message in messages]
    parameters = scope.parameters(session_id, count=len(messages), tokens=sum(tokens), first=times[0], last=times[-1])
    counted = connection.execute(_COUNT_BATCH, parameters).fetchall()
    if not counted:
        return None
    ((key, last_sequence, slides),) = counted
    first_place = (key << SEQUENCE_BITS) + last_sequence - len(messages) + 1
    rows = [
        (
            first_place + number,
            key,
            message.id,
            message.role,
            times[number],
            tokens[number],
            *_columns(connection, message),
        )
        for number, message in enumerate(messages)
    ]
    try:
        connection.executemany(_INSERT, rows)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise StoredIdError from error
    return Stored(messages, bool(slides))


def _columns(connection: sqlite3.Connection, message: Message) -> tuple[str | None, str | None, str | None]:
    columns = codec.message_columns(message)
    texts = [text for text in columns if text is not None]
    limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - _OTHER_COLUMNS
    if sum(map(len, texts)) * 4 > limit:  # a character takes at most 4 bytes
        size = sum(len(text.encode()) for text in texts)
        if size > limit:
            raise MessageTooLargeError(size=size, limit=limit)
    return columns


def _replace(connection: sqlite3.Connection, place: int, current: Message, changed: Message) -> None:
    values = (changed.token_count or 0, *_columns(connection, changed), place)
    connection.execute("UPDATE messages SET tokens = ?, content = ?, metadata = ?, body = ? WHERE place = ?", values)
    if changed.role != current.role:  # separately: SQLite rewrites the index of every column that a statement sets
        connection.execute("UPDATE messages SET role = ? WHERE place = ?", (changed.role, place))


def _check_gate(session_id: str, state: SessionState, messages: Sequence[Message]) -> None:
    """Raise if the session accepts no messages, or not so many tokens."""
    if state.status not in _OPEN:
        raise SessionClosedError(session_id, state.status)
    requested = sum(message.token_count or 0 for message in messages)
    if state.hard_limit is not None and state.token_count + requested > state.hard_limit:
        raise TokenBudgetExceededError(session_id, requested=requested, limit=state.hard_limit, used=state.token_count)
    if state.token_count + requested > LARGEST_COUNT:
        raise ValidationError(TOO_MANY_TOKENS)


def _move(messages: Sequence[Message], last_message_at: str | None, client_ids: Collection[str]) -> Sequence[Message]:
    """The batch, moved up in time if it is older than the last message."""
    last = codec.time_of(last_message_at)
    if last is None or last <= messages[0].created_at:
        return messages
    return move_to(last, messages, client_ids=client_ids)
