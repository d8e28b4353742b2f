"""The statements of forks. Each function runs on one connection, inside its caller's transaction."""

from __future__ import annotations

import sqlite3

from session_continuity import (
    Fork,
    MessageNotFoundError,
    Page,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
    is_repeated_create,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.schema import SEQUENCE_BITS
from session_continuity_sqlite.session_rows import OWN, Scope

_END = "SELECT place FROM messages WHERE session = ? AND id = ?"

# A copy keeps its sequence number, so the order is the same and the highest number is the source's.
_COPY = f"""
    INSERT INTO messages
    SELECT place + ((:fork - :source) << {SEQUENCE_BITS}), :fork, id, role, created_at, tokens, content, metadata, body
    FROM messages WHERE place > :source << {SEQUENCE_BITS} AND place <= :end"""

_COUNT = f"""
    UPDATE sessions
    SET (message_count, token_count, last_sequence, last_message_at) = (
            SELECT count(*), coalesce(sum(tokens), 0), coalesce(max(place) & {2**SEQUENCE_BITS - 1}, 0), max(created_at)
            FROM messages WHERE place > :fork << {SEQUENCE_BITS} AND place < (:fork + 1) << {SEQUENCE_BITS}
        )
    WHERE key = :fork"""

_ACTIVITY = "UPDATE sessions SET last_activity_at = max(last_activity_at, coalesce(last_message_at, '')) WHERE key = ?"

_PAGE = f"""
    SELECT forks.id, message_id, forks.created_at FROM forks JOIN sessions ON sessions.key = forks.session
    WHERE source = :source AND (forks.created_at, forks.id) > (:created_at, :session_id) AND {OWN}
    ORDER BY forks.created_at, forks.id LIMIT :limit"""


def fork(
    connection: sqlite3.Connection, scope: Scope, source_id: str, session: Session, through_id: str | None
) -> Session:
    """Store a session with copies of another's messages. The same fork repeated returns the session.

    Raises SessionNotFoundError, MessageNotFoundError and SessionExistsError.
    """
    source = session_rows.get_state(connection, scope, source_id).key
    end = _end(connection, source_id, source, through_id)
    existing = session_rows.get(connection, scope, session.id)
    if existing is not None:
        if not is_repeated_create(existing, session):
            raise SessionExistsError(session.id)
        return existing
    session_rows.create(connection, scope, session)
    key = session_rows.get_state(connection, scope, session.id).key
    connection.execute(_COPY, {"source": source, "fork": key, "end": end})
    connection.execute(_COUNT, {"fork": key})
    connection.execute(_ACTIVITY, (key,))
    row = (source, codec.time_text(session.created_at), session.id, through_id, key)
    connection.execute("INSERT INTO forks VALUES (?, ?, ?, ?, ?)", row)
    created = session_rows.get(connection, scope, session.id)
    if created is None:
        raise SessionNotFoundError(session.id)  # it expired meanwhile
    return created


def page(connection: sqlite3.Connection, scope: Scope, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
    """One page of the forks of a session. Raises SessionNotFoundError."""
    binding = f"forks of {source_id}"
    start = ("", "") if cursor is None else decode_cursor(cursor, bound_to=binding, form=tuple[str, str])
    source = session_rows.get_state(connection, scope, source_id).key
    parameters = scope.parameters(start[1], source=source, created_at=start[0], limit=limit + 1)
    rows = connection.execute(_PAGE, parameters).fetchall()
    found = tuple(
        Fork(session_id=session_id, message_id=message_id, created_at=codec.read_time(created_at))
        for session_id, message_id, created_at in rows[:limit]
    )
    if len(rows) <= limit:
        return Page(found)
    last_id, _, last_at = rows[limit - 1]
    return Page(found, encode_cursor([last_at, last_id], bound_to=binding))


def _end(connection: sqlite3.Connection, source_id: str, source: int, through_id: str | None) -> int:
    """The place of the last message to copy. Raises MessageNotFoundError."""
    if through_id is None:
        return (source + 1) << SEQUENCE_BITS
    rows = connection.execute(_END, (source, through_id)).fetchall()
    if not rows:
        raise MessageNotFoundError(source_id, through_id)
    return int(rows[0][0])
