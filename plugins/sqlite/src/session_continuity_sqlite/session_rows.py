"""The statements on sessions. Each function runs on one connection, inside its caller's transaction.

All rows are fetched at once. A statement that is not read to its end keeps its snapshot, and the log cannot shrink.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from session_continuity import (
    Clock,
    ConcurrencyError,
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
from session_continuity_sqlite import codec

LIVE = "(sessions.expires_at IS NULL OR sessions.expires_at > :now)"
"""The session has not expired at `:now`."""

OWN = "(:owner IS NULL OR sessions.user_id IS :owner)"
"""The session belongs to the owner of a view, if the call comes from one."""

MINE = f"sessions.namespace = :namespace AND sessions.id = :session_id AND {OWN} AND {LIVE}"
"""The session of a call, if it has not expired and is the owner's."""

KEY = f"(SELECT key FROM sessions WHERE {MINE})"

SLIDES = """sessions.expires_at IS NOT NULL AND (
        SELECT json_valid(body) AND json_extract(body, '$.sliding_ttl') IS NOT NULL
        FROM session_bodies WHERE session = sessions.key
    )"""
"""The session has an expiry that moves. Only the body of a session that expires is looked at."""

# CROSS JOIN keeps SQLite from reading the bodies first, and INDEXED BY from choosing an index of other sessions. EXISTS
# is found in the index alone; building an empty list for each session would take a fifth of the time of a listing.
_ROW = """
    SELECT body, version, message_count, token_count, last_activity_at,
        CASE WHEN EXISTS (SELECT 1 FROM messages WHERE session = sessions.key AND role = 'system') THEN (
            SELECT json_group_array(id) FROM (
                SELECT id FROM messages WHERE session = sessions.key AND role = 'system' ORDER BY place
            )
        ) END{more}
    FROM sessions INDEXED BY {index} CROSS JOIN session_bodies ON session_bodies.session = sessions.key
    WHERE """

_PLACE = ", sessions.{moment}, sessions.id"
"""The place of a row in a listing, also of one whose body cannot be read."""

_ONE = _ROW.format(index="sessions_by_id", more="") + MINE

_CREATE = """
    INSERT INTO sessions (
        namespace, id, user_id, active_agent_id, status, title, created_at, expires_at, hard_limit, version,
        last_activity_at
    ) VALUES (
        :namespace, :session_id, :user_id, :active_agent_id, :status, :title, :created_at, :expires_at, :hard_limit,
        :version, :last_activity_at
    ) RETURNING key"""

_UPDATE = """
    UPDATE sessions
    SET user_id = :user_id, active_agent_id = :active_agent_id, status = :status, title = :title,
        expires_at = :expires_at, hard_limit = :hard_limit, version = :version
    WHERE namespace = :namespace AND id = :session_id
    RETURNING key"""

_DELETE = f"DELETE FROM sessions WHERE namespace = :namespace AND id = :session_id AND {OWN}"

_DELETE_EXPIRED = f"DELETE FROM sessions WHERE namespace = :namespace AND id = :session_id AND NOT {LIVE}"

_TAKEN = f"SELECT 1 FROM sessions WHERE namespace = :namespace AND id = :session_id AND NOT {OWN}"

_VERSION = f"SELECT version FROM sessions WHERE namespace = :namespace AND id = :session_id AND {OWN}"

_FILTERS = {
    "user_id": "sessions.user_id = :user_id",
    "active_agent_id": "sessions.active_agent_id = :active_agent_id",
    "status": "sessions.status = :status",
    "created_after": "sessions.created_at > :created_after",
    "created_before": "sessions.created_at <= :created_before",
    "title": "instr(sessions.title, :title)",
}

_INDEXES = {"user_id": "sessions_by_user", "active_agent_id": "sessions_by_agent"}

_STATE = f"SELECT key, status, hard_limit, token_count, last_message_at FROM sessions WHERE {MINE}"

_EXPIRED = """
    SELECT expires_at, id FROM sessions
    WHERE namespace = :namespace AND expires_at <= :before AND (expires_at, id) > (:expires_at, :session_id)
    ORDER BY expires_at, id LIMIT :limit"""


class SessionState(NamedTuple):
    """What an append must know about the session."""

    key: int
    status: str
    hard_limit: int | None
    token_count: int
    last_message_at: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespace of a call, the clock that decides what has expired, and the owner of a view."""

    namespace: str
    clock: Clock
    owner: str | None = None

    def parameters(self, session_id: str, **more: Any) -> dict[str, Any]:
        """The parameters of a statement on one session.

        Reads the clock. A write must call it after it has got the write lock: the session may expire meanwhile.
        """
        return {
            "namespace": self.namespace,
            "owner": self.owner,
            "session_id": session_id,
            "now": self.now(),
            **more,
        }

    def now(self) -> str:
        """The time, as rows hold it."""
        return format_timestamp(self.clock())


def create(connection: sqlite3.Connection, scope: Scope, session: Session) -> Session:
    """Store a new session. The same create repeated returns the session. Raises SessionExistsError."""
    parameters = scope.parameters(session.id)
    connection.execute(_DELETE_EXPIRED, parameters)
    existing = get(connection, scope, session.id)
    if existing is None:
        if scope.owner is not None and connection.execute(_TAKEN, parameters).fetchall():
            raise SessionExistsError(session.id)
        return _insert(connection, parameters, session)
    if not is_repeated_create(existing, session):
        raise SessionExistsError(session.id)
    return existing


def get(connection: sqlite3.Connection, scope: Scope, session_id: str) -> Session | None:
    """The session with its totals, None if there is none."""
    rows = connection.execute(_ONE, scope.parameters(session_id)).fetchall()
    return codec.read_session(session_id, rows[0]) if rows else None


def get_state(connection: sqlite3.Connection, scope: Scope, session_id: str) -> SessionState:
    """The session's status, limit and totals. Raises SessionNotFoundError."""
    state = find_state(connection, scope, session_id)
    if state is None:
        raise SessionNotFoundError(session_id)
    return state


def find_state(connection: sqlite3.Connection, scope: Scope, session_id: str) -> SessionState | None:
    """The session's status, limit and totals, None if there is no session."""
    rows = connection.execute(_STATE, scope.parameters(session_id)).fetchall()
    return SessionState(*rows[0]) if rows else None


def check_version(connection: sqlite3.Connection, scope: Scope, session_id: str, expected: int | None) -> None:
    """Raise ConcurrencyError if the session exists at another version than this."""
    current = None if expected is None else get(connection, scope, session_id)
    if current is not None and current.version != expected:
        raise ConcurrencyError(session_id, expected=expected, actual=current.version, current=current)


def update(
    connection: sqlite3.Connection, scope: Scope, session_id: str, patch: Patch, expected_version: int | None
) -> Session:
    """Change a session and return it. Raises SessionNotFoundError and ConcurrencyError."""
    current = get(connection, scope, session_id)
    if current is None:
        raise SessionNotFoundError(session_id)
    if expected_version is not None and current.version != expected_version:
        raise ConcurrencyError(session_id, expected=expected_version, actual=current.version, current=current)
    changed = patch.apply(current).model_copy(update={"version": current.version + 1})
    columns = codec.session_columns(changed)
    ((key,),) = connection.execute(_UPDATE, {**scope.parameters(session_id), **columns}).fetchall()
    body = codec.session_body(changed)
    connection.execute("UPDATE session_bodies SET body = ? WHERE session = ?", (body, key))
    if changed.metadata.tags != current.metadata.tags:
        connection.execute("DELETE FROM session_tags WHERE session = ?", (key,))
        _insert_tags(connection, key, changed)
    return codec.detach(changed)


def delete(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    expired_before: datetime | None,
    expected_version: int | None,
) -> bool:
    """Delete a session, and return whether there was one. The foreign keys delete everything that belongs to it.

    Raises ConcurrencyError.
    """
    parameters = scope.parameters(session_id, before=codec.time_text(expired_before))
    condition = "" if expired_before is None else " AND expires_at <= :before"
    if expected_version is not None:
        rows = connection.execute(f"{_VERSION}{condition}", parameters).fetchall()
        if rows and rows[0][0] != expected_version:
            raise ConcurrencyError(session_id, expected=expected_version, actual=rows[0][0])
    return connection.execute(_DELETE + condition, parameters).rowcount > 0


def page(
    connection: sqlite3.Connection, scope: Scope, filter: SessionFilter, limit: int, cursor: str | None
) -> Page[Session]:
    """One page of a listing, by one statement.

    A user's sessions and those by time of creation come from an index in their order. All sessions, and an agent's, are
    sorted for a page by activity: an index for them would cost every append one or two pages more.
    """
    parameters = scope.parameters("", limit=limit + 1)
    conditions = _conditions(filter, parameters)
    moment = "last_activity_at" if filter.is_by_activity else "created_at"
    comparison, direction = ("<", "DESC") if filter.is_downwards else (">", "ASC")
    start = listing_start(filter, cursor)
    if start is not None:
        conditions.append(f"(sessions.{moment}, sessions.id) {comparison} (:moment, :session_id)")
        parameters["moment"], parameters["session_id"] = start
    select = _ROW.format(index=_index(filter), more=_PLACE.format(moment=moment))
    order = f"sessions.{moment} {direction}, sessions.id {direction}"
    rows = connection.execute(
        f"{select}{' AND '.join(conditions)} ORDER BY {order} LIMIT :limit", parameters
    ).fetchall()
    places = [row[-2:] for row in rows[:limit]]
    sessions = codec.read_sessions([row[:-2] for row in rows[:limit]])
    more = encode_cursor(places[-1], bound_to=filter.key()) if len(rows) > limit else None
    unreadable = tuple(place[1] for place, session in zip(places, sessions, strict=True) if session is None)
    return Page(tuple(session for session in sessions if session is not None), more, unreadable)


def _index(filter: SessionFilter) -> str:
    if filter.is_by_activity and filter.user_id is not None:
        return "sessions_by_user_activity"
    return next((index for field, index in _INDEXES.items() if getattr(filter, field) is not None), "sessions_by_time")


def _conditions(filter: SessionFilter, parameters: dict[str, Any]) -> list[str]:
    """The filter as SQL conditions. Adds its values to the parameters."""
    conditions = ["sessions.namespace = :namespace", OWN, LIVE]
    for field, condition in _FILTERS.items():
        value = getattr(filter, field)
        if value is not None:
            conditions.append(condition)
            parameters[field] = value
    if filter.created_after is not None:
        parameters["created_after"] = format_timestamp(filter.created_after)
    if filter.created_before is not None:
        parameters["created_before"] = codec.time_text_before(filter.created_before)
    if filter.title is not None:
        parameters["title"] = folded(filter.title)
    if filter.tags:
        conditions.append(_any_tag(filter.tags, parameters))
    return conditions


def expired(
    connection: sqlite3.Connection, scope: Scope, before: datetime, limit: int, cursor: str | None
) -> Page[str]:
    """One page of the ids of expired sessions, the longest expired first."""
    last = ("", "") if cursor is None else decode_cursor(cursor, bound_to="expired", form=tuple[str, str])
    parameters = {
        "namespace": scope.namespace,
        "owner": scope.owner,
        "before": codec.time_text(before),
        "expires_at": last[0],
        "session_id": last[1],
        "limit": limit + 1,
    }
    statement = _EXPIRED if scope.owner is None else _EXPIRED.replace("WHERE", f"WHERE {OWN} AND")
    rows = connection.execute(statement, parameters).fetchall()
    more = encode_cursor(rows[limit - 1], bound_to="expired") if len(rows) > limit else None
    return Page(tuple(session_id for _, session_id in rows[:limit]), more)


def _insert(connection: sqlite3.Connection, parameters: dict[str, Any], session: Session) -> Session:
    columns = {
        **codec.session_columns(session),
        "created_at": codec.time_text(session.created_at),
        "last_activity_at": codec.time_text(session.last_activity_at),
    }
    ((key,),) = connection.execute(_CREATE, {**parameters, **columns}).fetchall()
    connection.execute("INSERT INTO session_bodies VALUES (?, ?)", (key, codec.session_body(session)))
    _insert_tags(connection, key, session)
    return codec.detach(session, message_count=0, token_count=0, system_message_ids=[])


def _insert_tags(connection: sqlite3.Connection, key: int, session: Session) -> None:
    tags = [(key, tag) for tag in set(session.metadata.tags)]
    connection.executemany("INSERT INTO session_tags VALUES (?, ?)", tags)


def _any_tag(tags: frozenset[str], parameters: dict[str, Any]) -> str:
    names = {f"tag{number}": tag for number, tag in enumerate(sorted(tags))}
    parameters.update(names)
    listed = ", ".join(f":{name}" for name in names)
    return f"EXISTS (SELECT 1 FROM session_tags WHERE session = sessions.key AND tag IN ({listed}))"
