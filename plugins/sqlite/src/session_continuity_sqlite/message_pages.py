"""The statements that read messages. Each function runs on one connection, inside its caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from session_continuity import (
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    SessionNotFoundError,
    ValidationError,
    decode_cursor,
    encode_cursor,
    format_timestamp,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.schema import SEQUENCE_BITS
from session_continuity_sqlite.session_rows import KEY, Scope

_MAX_IDS = 10_000

COLUMNS = "place, id, role, created_at, tokens, content, metadata, body"

ONE_MESSAGE = f"SELECT session, {COLUMNS} FROM messages WHERE session = {KEY} AND id = :message_id"

_SYSTEM_MESSAGES = f"""
    SELECT {COLUMNS} FROM messages INDEXED BY messages_by_role
    WHERE session = {KEY} AND role = 'system' ORDER BY place"""

# The place after which a page starts, and before which it ends. `created_at` never decreases along the places, so a
# bound in time is found by one search and becomes a bound in places.
_AFTER = {
    "after_id": f"(SELECT place FROM messages WHERE session = {KEY} AND id = :after_id)",
    "after": f"""coalesce((SELECT place FROM messages WHERE session = {KEY} AND created_at <= :after
        ORDER BY created_at DESC, place DESC LIMIT 1), 0)""",
}
_BEFORE = {
    "before_id": f"(SELECT place FROM messages WHERE session = {KEY} AND id = :before_id)",
    "before": f"""coalesce((SELECT place FROM messages WHERE session = {KEY} AND created_at > :before
        ORDER BY created_at, place LIMIT 1), {2**63 - 1})""",
}


def get(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str) -> Message | None:
    """One message, None if there is none. Raises SessionNotFoundError."""
    rows = connection.execute(ONE_MESSAGE, scope.parameters(session_id, message_id=message_id)).fetchall()
    if not rows:
        session_rows.get_state(connection, scope, session_id)
        return None
    return codec.read_messages(session_id, [row[1:] for row in rows])[0]


def page(
    connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery, cursor: str | None
) -> Page[Message]:
    """One page of messages, by one statement. An empty page takes more, to find out why it is empty."""
    parameters = scope.parameters(session_id, limit=query.limit + 1)
    if cursor is not None:
        parameters["position"] = decode_cursor(cursor, bound_to=query.key(session_id), form=int)
    rows = connection.execute(_page_statement(query, parameters), parameters).fetchall()
    if not rows:
        _check_bounds(connection, scope, session_id, query)
    messages = codec.readable_messages(session_id, rows[: query.limit])
    unreadable = tuple(row[1] for row, message in zip(rows, messages, strict=False) if message is None)
    more = encode_cursor(rows[query.limit - 1][0], bound_to=query.key(session_id)) if len(rows) > query.limit else None
    return Page(tuple(message for message in messages if message is not None), more, unreadable)


def conversation(
    connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery
) -> ConversationPage:
    """The session, a page of its messages, and its other system messages: two statements, or three for the last."""
    session = session_rows.get(connection, scope, session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    messages = page(connection, scope, session_id, query, None)
    shown = {message.id for message in messages}
    system: list[Message] = []
    if not shown.issuperset(session.system_message_ids):
        rows = connection.execute(_SYSTEM_MESSAGES, scope.parameters(session_id)).fetchall()
        found = codec.readable_messages(session_id, rows)
        system = [message for message in found if message is not None and message.id not in shown]
    return ConversationPage(session=session, messages=messages, system_messages=tuple(system))


def _page_statement(query: MessageQuery, parameters: dict[str, Any]) -> str:
    """The statement for one page. Adds the query's values to the parameters."""
    bounds = [field for field in (*_AFTER, *_BEFORE) if getattr(query, field) is not None]
    parameters.update((field, getattr(query, field)) for field in bounds)
    if query.after is not None:
        parameters["after"] = format_timestamp(query.after)
    if query.before is not None:
        parameters["before"] = codec.time_text_before(query.before)
    if query.ids is not None and len(query.ids) > _MAX_IDS:
        raise ValidationError(f"ask for at most {_MAX_IDS} ids at once, not {len(query.ids)}")
    for kind, values in (("role", query.roles), ("id", query.ids)):
        parameters.update((f"{kind}{number}", value) for number, value in enumerate(values or ()))
    roles, ids = (None if values is None else len(values) for values in (query.roles, query.ids))
    return _page_text(query.order, (*bounds, *(["position"] if "position" in parameters else [])), roles, ids)


@lru_cache
def _page_text(order: str, bounds: tuple[str, ...], roles: int | None, ids: int | None) -> str:
    """The text of a statement. Queries of the same shape get the same text, which sqlite3 has parsed already."""
    position = {"position": ":position"}
    after, before = (_AFTER | position, _BEFORE) if order == "asc" else (_AFTER, _BEFORE | position)
    low = [f"({KEY} << {SEQUENCE_BITS})", *(after[bound] for bound in bounds if bound in after)]
    high = [f"(({KEY} + 1) << {SEQUENCE_BITS})", *(before[bound] for bound in bounds if bound in before)]
    between = f"place > {_one_or('max', low)} AND place < {_one_or('min', high)}"
    return f"{_selection(between, roles, ids)} ORDER BY place {order} LIMIT :limit"


def _one_or(function: str, bounds: Sequence[str]) -> str:
    return bounds[0] if len(bounds) == 1 else f"{function}({', '.join(bounds)})"


def _selection(between: str, roles: int | None, ids: int | None) -> str:
    """The rows, through the index that yields no others: by place, by id, or role by role and merged by place.

    INDEXED BY makes SQLite use that index or fail. Left to its statistics it may read a whole conversation.
    """
    select = f"SELECT {COLUMNS} FROM messages"
    names = [f":role{number}" for number in range(roles or 0)] or ["NULL"]
    if ids is not None:
        listed = ", ".join(f":id{number}" for number in range(ids))
        of_roles = "" if roles is None else f" AND role IN ({', '.join(names)})"
        return f"{select} INDEXED BY messages_by_id WHERE session = {KEY} AND id IN ({listed}){of_roles} AND {between}"
    if roles is None:
        return f"{select} WHERE {between}"
    by_role = f"{select} INDEXED BY messages_by_role WHERE session = {KEY} AND {between} AND role = "
    return " UNION ALL ".join(by_role + name for name in names)


def _check_bounds(connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery) -> None:
    """Raise if a page is empty because the session or one of the query's messages does not exist."""
    session_rows.get_state(connection, scope, session_id)
    for bound in (query.after_id, query.before_id):
        if bound is not None and get(connection, scope, session_id, bound) is None:
            raise MessageNotFoundError(session_id, bound)
