"""The statements on messages. Each function runs on one connection, inside its caller's transaction.

A message's place is `key << 32 | sequence`: the session's messages are one range of the table, in conversation order.
`created_at` never decreases along it, so that a condition on time is one on places too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from session_continuity import (
    Appended,
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    MessageTooLargeError,
    Page,
    Patch,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
    decode_cursor,
    encode_cursor,
    format_timestamp,
    is_repeated_append,
    move_to,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.errors import BACKEND, TOO_MANY_TOKENS
from session_continuity_sqlite.schema import LARGEST_COUNT, SEQUENCE_BITS
from session_continuity_sqlite.session_rows import MINE, Scope

_OPEN = ("active", "paused")
_BESIDE_THE_BODY = 4096  # bytes, more than a row's other columns can take
_MOST_IDS = 10_000

_KEY = f"(SELECT key FROM sessions WHERE {MINE})"

_TALLY = f"""
    UPDATE sessions
    SET message_count = message_count + :count, token_count = token_count + :tokens,
        last_sequence = last_sequence + :count, last_message_at = :last,
        last_activity_at = max(last_activity_at, :last)
    WHERE {MINE} AND status IN {_OPEN}
        AND token_count + :tokens <= coalesce(hard_limit, {LARGEST_COUNT})
        AND (last_message_at IS NULL OR last_message_at <= :first)
    RETURNING key, last_sequence, message_count, token_count, expires_at"""

_INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)"

_STATE = f"""
    SELECT key, status, hard_limit, message_count, token_count, last_message_at, expires_at
    FROM sessions WHERE {MINE}"""

_ONE = f"SELECT session, place, body FROM messages WHERE session = {_KEY} AND id = :message_id"

_SYSTEM = f"""
    SELECT body FROM messages INDEXED BY messages_by_role
    WHERE session = {_KEY} AND role = 'system' ORDER BY place"""

_DELETE = f"DELETE FROM messages WHERE session = {_KEY} AND id = :message_id RETURNING session, tokens"

_DELETED = """
    UPDATE sessions
    SET message_count = message_count - 1, token_count = token_count - :tokens,
        last_message_at = (SELECT max(created_at) FROM messages WHERE session = :key)
    WHERE key = :key"""

_CLEARED = "UPDATE sessions SET message_count = 0, token_count = 0, last_message_at = NULL WHERE key = ?"

_AFTER = {
    "after_id": f"(SELECT place FROM messages WHERE session = {_KEY} AND id = :after_id)",
    "after": f"""coalesce((SELECT place FROM messages WHERE session = {_KEY} AND created_at <= :after
        ORDER BY created_at DESC, place DESC LIMIT 1), 0)""",
}
_BEFORE = {
    "before_id": f"(SELECT place FROM messages WHERE session = {_KEY} AND id = :before_id)",
    "before": f"""coalesce((SELECT place FROM messages WHERE session = {_KEY} AND created_at > :before
        ORDER BY created_at, place LIMIT 1), {2**63 - 1})""",
}


class KnownTurnError(Exception):
    """An id of the turn is stored already; `append_known` tells what that means."""


def append(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    messages: Sequence[Message],
    chosen_ids: Collection[str],
) -> Appended:
    """Store the turn in two statements where nothing speaks against it. Raises KnownTurnError, having changed nothing
    that the end of the transaction does not take back."""
    done = _store(connection, scope, session_id, messages) if _is_in_order(messages) else None
    return done or append_known(connection, scope, session_id, messages, chosen_ids)


def append_known(
    connection: sqlite3.Connection,
    scope: Scope,
    session_id: str,
    messages: Sequence[Message],
    chosen_ids: Collection[str],
) -> Appended:
    """Store the turn, with every reason looked at why that cannot be done, or not as it is."""
    state = _state(connection, scope, session_id)
    stored = [get(connection, scope, session_id, message.id) for message in messages]
    if is_repeated_append(stored, messages):
        return Appended(
            messages=tuple(message for message in stored if message is not None),
            repeated=True,
            message_count=state["message_count"],
            token_count=state["token_count"],
            expires_at=codec.time_of(state["expires_at"]),
        )
    _check_gate(session_id, state, messages)
    done = _store(connection, scope, session_id, _moved(messages, state["last_message_at"], chosen_ids))
    if done is None:
        raise SessionNotFoundError(session_id)
    return done


def get(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str) -> Message | None:
    rows = connection.execute(_ONE, scope.names(session_id, message_id=message_id)).fetchall()
    if not rows:
        _state(connection, scope, session_id)
        return None
    return codec.messages(body for _, _, body in rows)[0]


def page(
    connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery, cursor: str | None
) -> Page[Message]:
    """One statement; only an answer of nothing takes more, to tell why."""
    names = scope.names(session_id, limit=query.limit + 1)
    if cursor is not None:
        names["position"] = decode_cursor(cursor, bound_to=query.key(session_id), form=int)
    rows = connection.execute(_page_statement(query, names), names).fetchall()
    if not rows:
        _check_bounds(connection, scope, session_id, query)
    found = tuple(codec.messages([body for _, body in rows[: query.limit]]))
    if len(rows) <= query.limit:
        return Page(found)
    return Page(found, encode_cursor(rows[query.limit - 1][0], bound_to=query.key(session_id)))


def conversation(
    connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery
) -> ConversationPage:
    """Two statements, and a third where system messages lie outside of the page."""
    session = session_rows.get(connection, scope, session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    messages = page(connection, scope, session_id, query, None)
    shown = {message.id for message in messages}
    system: list[Message] = []
    if not shown.issuperset(session.system_message_ids):
        bodies = connection.execute(_SYSTEM, scope.names(session_id)).fetchall()
        system = [message for message in codec.messages(body for (body,) in bodies) if message.id not in shown]
    return ConversationPage(session=session, messages=messages, system_messages=tuple(system))


def update(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str, patch: Patch) -> Message:
    rows = connection.execute(_ONE, scope.names(session_id, message_id=message_id)).fetchall()
    if not rows:
        _state(connection, scope, session_id)
        raise MessageNotFoundError(session_id, message_id)
    ((key, place, body),) = rows
    (current,) = codec.messages([body])
    changed = patch.apply(current)
    _replace(connection, place, current, changed)
    more = (changed.token_count or 0) - (current.token_count or 0)
    if more:
        connection.execute("UPDATE sessions SET token_count = token_count + ? WHERE key = ?", (more, key))
    return codec.detached(changed)


def delete(connection: sqlite3.Connection, scope: Scope, session_id: str, message_id: str) -> bool:
    rows = connection.execute(_DELETE, scope.names(session_id, message_id=message_id)).fetchall()
    if not rows:
        _state(connection, scope, session_id)
        return False
    ((key, tokens),) = rows
    connection.execute(_DELETED, {"key": key, "tokens": tokens})
    return True


def clear(connection: sqlite3.Connection, scope: Scope, session_id: str) -> int:
    key = _state(connection, scope, session_id)["key"]
    count = connection.execute("DELETE FROM messages WHERE session = ?", (key,)).rowcount
    connection.execute(_CLEARED, (key,))
    return count


def _store(
    connection: sqlite3.Connection, scope: Scope, session_id: str, messages: Sequence[Message]
) -> Appended | None:
    """Store a turn whose times are in order; None when the session does not take it as it is."""
    times = [format_timestamp(message.created_at) for message in messages]
    tokens = [message.token_count or 0 for message in messages]
    names = scope.names(session_id, count=len(messages), tokens=sum(tokens), first=times[0], last=times[-1])
    updated = connection.execute(_TALLY, names).fetchall()
    if not updated:
        return None
    ((key, sequence, message_count, token_count, expires_at),) = updated
    first = (key << SEQUENCE_BITS) + sequence - len(messages) + 1
    rows = [
        (first + number, key, message.id, message.role, times[number], tokens[number], _body(connection, message))
        for number, message in enumerate(messages)
    ]
    try:
        connection.executemany(_INSERT, rows)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise KnownTurnError from error
    return Appended(
        messages=tuple(messages),
        message_count=message_count,
        token_count=token_count,
        expires_at=codec.time_of(expires_at),
    )


def _body(connection: sqlite3.Connection, message: Message) -> str:
    body = codec.message_body(message)
    limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - _BESIDE_THE_BODY
    if len(body) * 4 > limit:
        size = len(body.encode())
        if size > limit:
            raise MessageTooLargeError(backend=BACKEND, operation="append_messages", size=size, limit=limit)
    return body


def _replace(connection: sqlite3.Connection, place: int, current: Message, changed: Message) -> None:
    tokens, body = changed.token_count or 0, _body(connection, changed)
    connection.execute("UPDATE messages SET tokens = ?, body = ? WHERE place = ?", (tokens, body, place))
    if changed.role != current.role:  # apart, because an index is rewritten whenever its column is named
        connection.execute("UPDATE messages SET role = ? WHERE place = ?", (changed.role, place))


def _state(connection: sqlite3.Connection, scope: Scope, session_id: str) -> dict[str, Any]:
    cursor = connection.execute(_STATE, scope.names(session_id))
    rows = cursor.fetchall()
    if not rows:
        raise SessionNotFoundError(session_id)
    return dict(zip((column[0] for column in cursor.description), rows[0], strict=True))


def _check_gate(session_id: str, state: dict[str, Any], messages: Sequence[Message]) -> None:
    if state["status"] not in _OPEN:
        raise SessionClosedError(session_id, state["status"])
    limit, used = state["hard_limit"], state["token_count"]
    requested = sum(message.token_count or 0 for message in messages)
    if limit is not None and used + requested > limit:
        raise TokenBudgetExceededError(session_id, requested=requested, limit=limit, used=used)
    if used + requested > LARGEST_COUNT:
        raise ValidationError(TOO_MANY_TOKENS)


def _is_in_order(messages: Sequence[Message]) -> bool:
    return all(earlier.created_at <= later.created_at for earlier, later in pairwise(messages))


def _moved(messages: Sequence[Message], last_message_at: str | None, chosen_ids: Collection[str]) -> Sequence[Message]:
    """The turn, moved up where it is older than the last message, or than a message of its own that comes before."""
    last = codec.time_of(last_message_at)
    if _is_in_order(messages) and (last is None or last <= messages[0].created_at):
        return messages
    latest = max(message.created_at for message in messages)
    return move_to(latest if last is None else max(latest, last), messages, chosen_ids=chosen_ids)


def _page_statement(query: MessageQuery, names: dict[str, Any]) -> str:
    """The statement for one page; adds the query's values to its parameters."""
    bounds = [field for field in (*_AFTER, *_BEFORE) if getattr(query, field) is not None]
    names.update((field, getattr(query, field)) for field in bounds)
    if query.after is not None:
        names["after"] = format_timestamp(query.after)
    if query.before is not None:
        names["before"] = codec.time_text_before(query.before)
    if query.ids is not None and len(query.ids) > _MOST_IDS:
        raise ValidationError(f"ask for at most {_MOST_IDS} ids at once, not {len(query.ids)}")
    for kind, values in (("role", query.roles), ("id", query.ids)):
        names.update((f"{kind}{number}", value) for number, value in enumerate(values or ()))
    roles, ids = (None if values is None else len(values) for values in (query.roles, query.ids))
    return _page_text(query.order, (*bounds, *(["position"] if "position" in names else [])), roles, ids)


@lru_cache
def _page_text(order: str, bounds: tuple[str, ...], roles: int | None, ids: int | None) -> str:
    """The same text for the same shape of a query, so that SQLite parses it once.

    Rows come by the index that finds no others: places alone, ids, or each role by itself, merged by place.
    """
    position = {"position": ":position"}
    after, before = (_AFTER | position, _BEFORE) if order == "asc" else (_AFTER, _BEFORE | position)
    low = [f"({_KEY} << {SEQUENCE_BITS})", *(after[bound] for bound in bounds if bound in after)]
    high = [f"(({_KEY} + 1) << {SEQUENCE_BITS})", *(before[bound] for bound in bounds if bound in before)]
    between = f"place > {_only_or('max', low)} AND place < {_only_or('min', high)}"
    return f"{_selection(between, roles, ids)} ORDER BY place {order} LIMIT :limit"


def _only_or(function: str, bounds: Sequence[str]) -> str:
    return bounds[0] if len(bounds) == 1 else f"{function}({', '.join(bounds)})"


def _selection(between: str, roles: int | None, ids: int | None) -> str:
    select = "SELECT place, body FROM messages"
    places = [f":role{number}" for number in range(roles or 0)] or ["NULL"]
    if ids is not None:
        listed = ", ".join(f":id{number}" for number in range(ids))
        having = "" if roles is None else f" AND role IN ({', '.join(places)})"
        return f"{select} INDEXED BY messages_by_id WHERE session = {_KEY} AND id IN ({listed}){having} AND {between}"
    if roles is None:
        return f"{select} WHERE {between}"
    by_role = f"{select} INDEXED BY messages_by_role WHERE session = {_KEY} AND {between} AND role = "
    return " UNION ALL ".join(by_role + place for place in places)


def _check_bounds(connection: sqlite3.Connection, scope: Scope, session_id: str, query: MessageQuery) -> None:
    """Raise what an answer of nothing hides: a session or a bound that does not exist."""
    _state(connection, scope, session_id)
    for bound in (query.after_id, query.before_id):
        if bound is not None and get(connection, scope, session_id, bound) is None:
            raise MessageNotFoundError(session_id, bound)
