"""The statements on sessions. Each function runs on one connection, inside its caller's transaction.

Answers are fetched whole: a statement left half read would keep its snapshot, and the log could not shrink.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from session_continuity import (
    Clock,
    ConcurrencyError,
    Page,
    Patch,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    check_limit,
    decode_cursor,
    encode_cursor,
    format_timestamp,
    is_repeated_create,
)
from session_continuity_sqlite import codec

LIVE = "(sessions.expires_at IS NULL OR sessions.expires_at > :now)"
"""The session has not expired at `:now`."""

MINE = f"sessions.namespace = :namespace AND sessions.id = :session_id AND {LIVE}"
"""The live session that a call names."""

_ROW = """
    SELECT body, version, message_count, token_count, last_activity_at,
        CASE WHEN EXISTS (SELECT 1 FROM messages WHERE session = sessions.key AND role = 'system') THEN (
            SELECT json_group_array(id) FROM (
                SELECT id FROM messages WHERE session = sessions.key AND role = 'system' ORDER BY place
            )
        ) END
    FROM sessions INDEXED BY {index} CROSS JOIN session_bodies ON session_bodies.session = sessions.key
    WHERE """

_ONE = _ROW.format(index="sessions_by_id") + MINE

_CREATE = """
    INSERT INTO sessions (
        namespace, id, user_id, active_agent_id, status, created_at, expires_at, hard_limit, version, last_activity_at
    ) VALUES (
        :namespace, :session_id, :user_id, :active_agent_id, :status, :created_at, :expires_at, :hard_limit, :version,
        :last_activity_at
    ) RETURNING key"""

_UPDATE = """
    UPDATE sessions
    SET user_id = :user_id, active_agent_id = :active_agent_id, status = :status, expires_at = :expires_at,
        hard_limit = :hard_limit, version = :version
    WHERE namespace = :namespace AND id = :session_id
    RETURNING key"""

_DELETE = "DELETE FROM sessions WHERE namespace = :namespace AND id = :session_id"

_FILTERS = {
    "user_id": "sessions.user_id = :user_id",
    "active_agent_id": "sessions.active_agent_id = :active_agent_id",
    "status": "sessions.status = :status",
    "created_after": "sessions.created_at > :created_after",
    "created_before": "sessions.created_at <= :created_before",
}

_INDEXES = {"user_id": "sessions_by_user", "active_agent_id": "sessions_by_agent"}

_EXPIRED = """
    SELECT expires_at, id FROM sessions
    WHERE namespace = :namespace AND expires_at <= :before AND (expires_at, id) > (:expires_at, :session_id)
    ORDER BY expires_at, id LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose sessions a call sees, and when it is."""

    namespace: str
    clock: Clock

    def names(self, session_id: str, **more: Any) -> dict[str, Any]:
        """The parameters of a statement on one session. Asks the clock: inside a write, call it after the wait for
        the write's turn."""
        return {"namespace": self.namespace, "session_id": session_id, "now": self.now(), **more}

    def now(self) -> str:
        return format_timestamp(self.clock())


def create(connection: sqlite3.Connection, scope: Scope, session: Session) -> Session:
    names = scope.names(session.id)
    connection.execute(f"{_DELETE} AND NOT {LIVE}", names)
    existing = get(connection, scope, session.id)
    if existing is None:
        return _insert(connection, names, session)
    if not is_repeated_create(existing, session):
        raise SessionExistsError(session.id)
    return existing


def get(connection: sqlite3.Connection, scope: Scope, session_id: str) -> Session | None:
    rows = connection.execute(_ONE, scope.names(session_id)).fetchall()
    return codec.sessions(rows)[0] if rows else None


def update(
    connection: sqlite3.Connection, scope: Scope, session_id: str, patch: Patch, expected_version: int | None
) -> Session:
    current = get(connection, scope, session_id)
    if current is None:
        raise SessionNotFoundError(session_id)
    if expected_version is not None and current.version != expected_version:
        raise ConcurrencyError(session_id, expected=expected_version, actual=current.version, current=current)
    changed = patch.apply(current).model_copy(update={"version": current.version + 1})
    columns = codec.session_columns(changed)
    ((key,),) = connection.execute(_UPDATE, {**scope.names(session_id), **columns}).fetchall()
    body = codec.session_body(changed)
    connection.execute("UPDATE session_bodies SET body = ? WHERE session = ?", (body, key))
    if changed.metadata.tags != current.metadata.tags:
        connection.execute("DELETE FROM session_tags WHERE session = ?", (key,))
        _insert_tags(connection, key, changed)
    return codec.detached(changed)


def delete(connection: sqlite3.Connection, scope: Scope, session_id: str, expired_before: datetime | None) -> bool:
    names = {"namespace": scope.namespace, "session_id": session_id, "before": codec.time_text(expired_before)}
    condition = "" if expired_before is None else " AND expires_at <= :before"
    return connection.execute(_DELETE + condition, names).rowcount > 0


def page(
    connection: sqlite3.Connection, scope: Scope, filter: SessionFilter, limit: int, cursor: str | None
) -> Page[Session]:
    check_limit(limit)
    names: dict[str, Any] = {"namespace": scope.namespace, "now": scope.now(), "limit": limit + 1}
    conditions = ["sessions.namespace = :namespace", LIVE]
    for field, condition in _FILTERS.items():
        value = getattr(filter, field)
        if value is not None:
            conditions.append(condition)
            names[field] = value
    if filter.created_after is not None:
        names["created_after"] = format_timestamp(filter.created_after)
    if filter.created_before is not None:
        names["created_before"] = codec.time_text_before(filter.created_before)
    if filter.tags:
        conditions.append(_any_tag(filter.tags, names))
    if cursor is not None:
        conditions.append("(sessions.created_at, sessions.id) < (:created_at, :session_id)")
        names["created_at"], names["session_id"] = decode_cursor(cursor, bound_to=filter.key(), form=tuple[str, str])
    index = next((index for field, index in _INDEXES.items() if getattr(filter, field) is not None), "sessions_by_time")
    where = " AND ".join(conditions)
    rows = connection.execute(
        f"{_ROW.format(index=index)}{where} ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT :limit", names
    ).fetchall()
    found = tuple(codec.sessions(rows[:limit]))
    last = [format_timestamp(found[-1].created_at), found[-1].id] if len(rows) > limit else None
    return Page(found, None if last is None else encode_cursor(last, bound_to=filter.key()))


def expired(
    connection: sqlite3.Connection, scope: Scope, before: datetime, limit: int, cursor: str | None
) -> Page[str]:
    check_limit(limit)
    last = ("", "") if cursor is None else decode_cursor(cursor, bound_to="expired", form=tuple[str, str])
    names = {
        "namespace": scope.namespace,
        "before": codec.time_text(before),
        "expires_at": last[0],
        "session_id": last[1],
        "limit": limit + 1,
    }
    rows = connection.execute(_EXPIRED, names).fetchall()
    more = encode_cursor(rows[limit - 1], bound_to="expired") if len(rows) > limit else None
    return Page(tuple(session_id for _, session_id in rows[:limit]), more)


def _insert(connection: sqlite3.Connection, names: dict[str, Any], session: Session) -> Session:
    columns = {
        **codec.session_columns(session),
        "created_at": codec.time_text(session.created_at),
        "last_activity_at": codec.time_text(session.last_activity_at),
    }
    ((key,),) = connection.execute(_CREATE, {**names, **columns}).fetchall()
    connection.execute("INSERT INTO session_bodies VALUES (?, ?)", (key, codec.session_body(session)))
    _insert_tags(connection, key, session)
    return codec.detached(session, message_count=0, token_count=0, system_message_ids=[])


def _insert_tags(connection: sqlite3.Connection, key: int, session: Session) -> None:
    tags = [(key, tag) for tag in set(session.metadata.tags)]
    connection.executemany("INSERT INTO session_tags VALUES (?, ?)", tags)


def _any_tag(tags: frozenset[str], names: dict[str, Any]) -> str:
    places = {f"tag{number}": tag for number, tag in enumerate(sorted(tags))}
    names.update(places)
    listed = ", ".join(f":{place}" for place in places)
    return f"EXISTS (SELECT 1 FROM session_tags WHERE session = sessions.key AND tag IN ({listed}))"
