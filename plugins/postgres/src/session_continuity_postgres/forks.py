"""Forks: the copy of a session, and the list of a session's forks."""

from __future__ import annotations

from typing import Any

from session_continuity import (
    Fork,
    MessageNotFoundError,
    Page,
    Session,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
)
from session_continuity_postgres import codec
from session_continuity_postgres.codec import key, text_of
from session_continuity_postgres.database import Database
from session_continuity_postgres.schema import milliseconds
from session_continuity_postgres.session_rows import created_session

# A row without an id stands for a source that has no forks.
_PAGE = f"""
    SELECT f.* FROM {{schema}}.sessions s LEFT JOIN LATERAL (
        SELECT f.id, f.fork_point, {milliseconds("f.created_at")} FROM {{schema}}.sessions f
        WHERE f.source_key = s.key{{mine}}{{after}} ORDER BY f.created_at, f.id LIMIT {{limit}}
    ) f ON true WHERE {{live}}"""

_AFTER = " AND (f.created_at, f.id) > (%(cursor_at)s::timestamptz, %(cursor_id)s)"


async def fork(database: Database, source_id: str, session: Session, through_id: str | None) -> Session:
    """Store a session with copies of another's messages. The same fork repeated returns the session.

    Raises SessionNotFoundError, MessageNotFoundError and SessionExistsError.
    """
    outcome, detail = await database.call(
        "fork_1",
        source_id,
        codec.optional_key(through_id),
        key(session.id),
        codec.session_json(session, database.namespace),
    )
    if outcome == "missing":
        raise SessionNotFoundError(source_id)
    if outcome == "no_message" and through_id is not None:
        raise MessageNotFoundError(source_id, through_id)
    return created_session(session, outcome, detail)


async def page(database: Database, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
    """One page of the forks of a session. Raises SessionNotFoundError."""
    binding = f"forks of {source_id}"
    values: dict[str, Any] = {}
    if cursor is not None:
        moment, fork_id = decode_cursor(cursor, bound_to=binding, form=tuple[int, str])
        values = {"cursor_at": codec.time_of(moment).isoformat(), "cursor_id": fork_id}
    text = _PAGE.replace("{mine}", "" if database.owner is None else " AND f.user_id = %(owner)s")
    text = text.replace("{after}", _AFTER if values else "").replace("{limit}", str(limit + 1))
    rows = await database.fetch(text, session=key(source_id), **values)
    if not rows:
        raise SessionNotFoundError(source_id)
    found = tuple(
        Fork(
            session_id=text_of(fork_id),
            message_id=None if point is None else text_of(point),
            created_at=codec.time_of(created),
        )
        for fork_id, point, created in rows[:limit]
        if fork_id is not None
    )
    if len(rows) <= limit:
        return Page(found)
    last_id, _, last_at = rows[limit - 1]
    return Page(found, encode_cursor([last_at, last_id], bound_to=binding))
