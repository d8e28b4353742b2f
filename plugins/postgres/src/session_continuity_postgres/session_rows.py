"""The statements on sessions, and the results that they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from session_continuity import (
    ConcurrencyError,
    ListingPlace,
    Page,
    Patch,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
    folded,
    format_timestamp,
    is_repeated_create,
    listing_start,
)
from session_continuity_postgres import codec
from session_continuity_postgres.codec import key, tag_key, text_of
from session_continuity_postgres.database import Database
from session_continuity_postgres.schema import SESSION, milliseconds

_ONE = f"SELECT {SESSION} FROM {{schema}}.sessions s WHERE {{live}}"

_CREATED, _ACTIVE = "s.created_at", "s.last_activity_at"

_PAGE = {
    moment: f"SELECT s.id, {milliseconds(moment)}, {SESSION} FROM {{schema}}.sessions s "
    "WHERE s.namespace = %(namespace)s{own}"
    for moment in (_CREATED, _ACTIVE)
}
"""A listing in the order of a column of times."""

_NOT_EXPIRED = " AND (s.expires_at IS NULL OR s.expires_at > %(now)s::timestamptz)"

_FILTERS = {
    "user_id": "s.user_id = %(user_id)s",
    "active_agent_id": "s.active_agent_id = %(active_agent_id)s",
    "status": "s.status = %(status)s",
    "tags": "s.tags && %(tags)s::text[]",
    "created_after": "s.created_at > %(created_after)s::timestamptz",
    "created_before": "s.created_at < %(created_before)s::timestamptz",
    "title": "strpos(s.title, %(title)s) > 0",
}

_BEHIND = " AND ({moment}, s.id) {sign} (%(place_at)s::timestamptz, %(place_id)s)"

_EXPIRED = (
    f"SELECT s.id, {milliseconds('s.expires_at')} FROM {{schema}}.sessions s "
    "WHERE s.namespace = %(namespace)s{own} AND s.expires_at <= %(before)s::timestamptz"
)

_EXPIRED_AFTER = " AND (s.expires_at, s.id) > (%(cursor_at)s::timestamptz, %(cursor_id)s)"


async def create(database: Database, session: Session) -> Session:
    """Store a new session. The same create repeated returns the session. Raises SessionExistsError."""
    outcome, detail = await database.call("create_1", session.id, codec.session_json(session, database.namespace))
    return created_session(session, outcome, detail)


def created_session(session: Session, outcome: str, detail: str | None) -> Session:
    """The session that a create or a fork stored, or found. Raises SessionExistsError."""
    if detail is None:  # it is the session of another owner
        raise SessionExistsError(session.id)
    found = codec.read_session(session.id, detail)
    if outcome == "exists" and not is_repeated_create(found, session):
        raise SessionExistsError(session.id)
    return found


async def get(database: Database, session_id: str) -> Session | None:
    """The session with its totals, None if there is none."""
    rows = await database.fetch(_ONE, session=key(session_id))
    return codec.read_session(session_id, rows[0][0]) if rows else None


async def update(database: Database, session_id: str, patch: Patch, expected_version: int | None) -> Session:
    """Change a session and return it. Raises SessionNotFoundError and ConcurrencyError."""
    change = codec.patch_json(patch, database.namespace)
    outcome, detail = await database.call("update_1", session_id, change, expected_version)
    if outcome == "missing":
        raise SessionNotFoundError(session_id)
    session = codec.read_session(session_id, detail)
    if outcome == "conflict":
        raise conflict(session, expected_version)
    return session


def conflict(current: Session, expected: int | None) -> ConcurrencyError:
    """The error for a session that is at another version than expected."""
    return ConcurrencyError(current.id, expected=expected, actual=current.version, current=current)


async def delete(
    database: Database, session_id: str, expired_before: datetime | None, expected_version: int | None
) -> bool:
    """Delete a session with everything that belongs to it, and return whether there was one.

    Raises ConcurrencyError.
    """
    before = codec.time_text(expired_before)
    outcome, detail = await database.call_at("delete_1", session_id, before, expected_version)
    if outcome == "conflict":
        raise ConcurrencyError(session_id, expected=expected_version, actual=int(detail))
    return bool(outcome == "deleted")


async def page(database: Database, filter: SessionFilter, limit: int, cursor: str | None) -> Page[Session]:
    """One page of a listing, by one statement.

    By creation, it goes along an index. By activity, the server sorts all sessions that meet the conditions: with an
    index for that order, every append would write each index of the session's row anew.
    """
    moment = _ACTIVE if filter.is_by_activity else _CREATED
    values: dict[str, Any] = {}
    text = _PAGE[moment]
    for field, condition in _FILTERS.items():
        if wanted := getattr(filter, field):
            text += f" AND {condition}"
            values[field] = _value(database, field, wanted)
    sign, direction = ("<", "DESC") if filter.is_downwards else (">", "ASC")
    start = listing_start(filter, cursor)
    if start is not None:
        text += _BEHIND.replace("{moment}", moment).replace("{sign}", sign)
        values |= {"place_at": start.moment, "place_id": key(start.id)}
    text += f"{_NOT_EXPIRED} ORDER BY {moment} {direction}, s.id {direction} LIMIT {limit + 1}"
    # One plan for all tags would go through the sessions by their times; for a rare tag, through all of them.
    rows = await database.fetch(text, prepare=False if filter.tags else None, **values)
    more = None
    if len(rows) > limit:
        last_id, last_at, _ = rows[limit - 1]
        place = ListingPlace(format_timestamp(codec.time_of(last_at)), text_of(last_id))
        more = encode_cursor(place, bound_to=filter.key())
    sessions = codec.read_sessions([row[2] for row in rows[:limit]])
    unreadable = tuple(text_of(row[0]) for row, session in zip(rows, sessions, strict=False) if session is None)
    found = [session for session in sessions if session is not None]
    if filter.title is not None and not filter.title.isprintable():
        # Characters that stand for others in a key may match by chance.
        found = [session for session in found if filter.matches(session)]
    return Page(tuple(found), more, unreadable)


async def expired(database: Database, before: datetime, limit: int, cursor: str | None) -> Page[str]:
    """One page of the ids of expired sessions, the longest expired first."""
    text = _EXPIRED
    values: dict[str, Any] = {}
    if cursor is not None:
        text += _EXPIRED_AFTER
        moment, stored_id = decode_cursor(cursor, bound_to="expired", form=tuple[int, str])
        values |= {"cursor_at": codec.time_of(moment).isoformat(), "cursor_id": stored_id}
    text += f" ORDER BY s.expires_at, s.id LIMIT {limit + 1}"
    rows = await database.fetch(text, before=before.isoformat(), **values)
    more = encode_cursor(rows[limit - 1][::-1], bound_to="expired") if len(rows) > limit else None
    return Page(tuple(text_of(row[0]) for row in rows[:limit]), more)


def _value(database: Database, field: str, wanted: Any) -> Any:
    """The value of a filter as a parameter."""
    if isinstance(wanted, datetime):
        return wanted.isoformat()
    if field == "title":
        return key(folded(wanted))
    return key(wanted) if isinstance(wanted, str) else [tag_key(database.namespace, tag) for tag in sorted(wanted)]
