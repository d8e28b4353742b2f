"""The statements that read messages: one for each read, whatever it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
)
from session_continuity_postgres import codec
from session_continuity_postgres.codec import MessageRow, key, text_of
from session_continuity_postgres.database import Database
from session_continuity_postgres.schema import ROW_COLUMNS, SESSION

_ONE = f"""
    SELECT m.revision, {ROW_COLUMNS} FROM {{schema}}.sessions s
    LEFT JOIN {{schema}}.messages m ON m.session_key = s.key AND m.id = %(message)s WHERE {{live}}"""

# The first column of a row says what it is: 0 the session, 1 a message of the page, 2 another system message. The
# session's row has in `place` which bounds of the query the session lacks: 1 for after_id, 2 for before_id.
_SESSION_ROW = (
    "SELECT 0, s.missing::bigint, NULL::text, NULL::text, NULL::bigint, NULL::bigint, s.json, NULL::text, NULL::text, "
    "NULL::bigint FROM s"
)

_PAGE_ROWS = " UNION ALL SELECT 1, p.* FROM s CROSS JOIN LATERAL ({page}) p"

_SYSTEM_ROWS = f""" UNION ALL SELECT 2, o.* FROM s CROSS JOIN LATERAL (
    SELECT {ROW_COLUMNS} FROM {{schema}}.messages m
    WHERE s.system_count > 0 AND m.session_key = s.key AND m.role = 'system' ORDER BY m.created_at, m.place) o"""

_BOUNDS = {
    "after_id": (
        " LEFT JOIN {schema}.messages a ON a.session_key = s.key AND a.id = %(after_id)s",
        ", a.created_at AS after_at, a.place AS after_place",
        "(a.place IS NULL)::integer",
        " AND (m.created_at, m.place) > (s.after_at, s.after_place)",
    ),
    "before_id": (
        " LEFT JOIN {schema}.messages b ON b.session_key = s.key AND b.id = %(before_id)s",
        ", b.created_at AS before_at, b.place AS before_place",
        "2 * (b.place IS NULL)::integer",
        " AND (m.created_at, m.place) < (s.before_at, s.before_place)",
    ),
}
"""For each bound of a query: the join that finds it, its columns, whether it is missing, and the condition."""

_TIMES = {
    "after": " AND m.created_at > %(after)s::timestamptz",
    "before": " AND m.created_at < %(before)s::timestamptz",
}


async def read_one(database: Database, session_id: str, message_id: str) -> tuple[int, MessageRow] | None:
    """The revision of a message, and its row. None if there is none. Raises SessionNotFoundError."""
    rows = await database.fetch(_ONE, session=key(session_id), message=key(message_id))
    if not rows:
        raise SessionNotFoundError(session_id)
    ((revision, *row),) = rows
    return None if revision is None else (revision, tuple(row))


async def get(database: Database, session_id: str, message_id: str) -> Message | None:
    """One message, None if there is none. Raises SessionNotFoundError."""
    found = await read_one(database, session_id, message_id)
    return None if found is None else codec.read_messages(session_id, [found[1]])[0]


async def page(database: Database, session_id: str, query: MessageQuery, cursor: str | None) -> Page[Message]:
    """One page of messages."""
    values: dict[str, Any] = {}
    if cursor is not None:
        moment, place = decode_cursor(cursor, bound_to=query.key(session_id), form=tuple[int, int])
        values = {"cursor_at": codec.time_of(moment).isoformat(), "cursor_place": place}
    _, rows, _ = await _read(database, session_id, query, values, with_session=False)
    return _page(session_id, query, rows)


async def conversation(database: Database, session_id: str, query: MessageQuery) -> ConversationPage:
    """The session, a page of its messages, and its other system messages."""
    text, rows, others = await _read(database, session_id, query, {}, with_session=True)
    messages = _page(session_id, query, rows)
    shown = {row[0] for row in rows[: query.limit]}
    found = codec.readable_messages(session_id, [row for row in others if row[0] not in shown])
    return ConversationPage(
        session=codec.read_session(session_id, text),
        messages=messages,
        system_messages=tuple(message for message in found if message is not None),
    )


async def _read(
    database: Database, session_id: str, query: MessageQuery, values: dict[str, Any], *, with_session: bool
) -> tuple[str, list[MessageRow], list[MessageRow]]:
    """The session's JSON, the rows of the page and one more if there are more, and those of the system messages.

    Raises SessionNotFoundError and MessageNotFoundError.
    """
    text = _statement(query, has_cursor=bool(values), with_session=with_session)
    rows = await database.fetch(text, session=key(session_id), **values, **_values(query))
    parts: list[list[Any]] = [[], [], []]
    for row in rows:
        parts[row[0]].append(row[1:])
    if not parts[0]:
        raise SessionNotFoundError(session_id)
    (head,), of_page, others = parts
    missing: int = head[0]
    for bit, bound in ((1, query.after_id), (2, query.before_id)):
        if missing & bit and bound is not None:
            raise MessageNotFoundError(session_id, bound)
    return head[5] or "", of_page, others


def _page(session_id: str, query: MessageQuery, rows: Sequence[MessageRow]) -> Page[Message]:
    """The page of these rows, of which there may be one more than asked for."""
    shown = rows[: query.limit]
    messages = codec.readable_messages(session_id, shown)
    unreadable = tuple(text_of(row[1]) for row, message in zip(shown, messages, strict=True) if message is None)
    more = None
    if len(rows) > query.limit:
        place, _, _, moment, *_ = shown[-1]
        more = encode_cursor([moment, place], bound_to=query.key(session_id))
    return Page(tuple(message for message in messages if message is not None), more, unreadable)


def _values(query: MessageQuery) -> dict[str, Any]:
    """The query's values, by the names of parameters."""
    values: dict[str, Any] = {}
    for name in ("after_id", "before_id"):
        if (bound := getattr(query, name)) is not None:
            values[name] = key(bound)
    for name in _TIMES:
        if (moment := getattr(query, name)) is not None:
            values[name] = moment.isoformat()
    if query.ids is not None:
        values["ids"] = [key(message_id) for message_id in query.ids]
    return values


def _statement(query: MessageQuery, *, has_cursor: bool, with_session: bool) -> str:
    bounds = [_BOUNDS[name] for name in _BOUNDS if getattr(query, name) is not None]
    joins, columns = "".join(bound[0] for bound in bounds), "".join(bound[1] for bound in bounds)
    missing = " + ".join(bound[2] for bound in bounds) or "0"
    json = SESSION if with_session else "NULL::text"
    session = (
        f"WITH s AS MATERIALIZED (SELECT s.key, s.system_count, {json} AS json, {missing} AS missing{columns} "
        f"FROM {{schema}}.sessions s{joins} WHERE {{live}}) "
    )
    page = _PAGE_ROWS.replace("{page}", _page_text(query, has_cursor=has_cursor))
    return session + _SESSION_ROW + page + (_SYSTEM_ROWS if with_session else "")


def _page_text(query: MessageQuery, *, has_cursor: bool) -> str:
    """One more message than asked for. Of several roles, as many of each, so that each is read along its index."""
    if query.roles is None or len(query.roles) == len(codec.ROLES):
        return _range(query, has_cursor, "")
    if not query.roles:
        return _range(query, has_cursor, " AND false")
    ranges = [_range(query, has_cursor, f" AND m.role = '{role}'") for role in codec.ROLES if role in query.roles]
    if len(ranges) == 1:
        return ranges[0]
    union = " UNION ALL ".join(f"({text})" for text in ranges)
    names = "place, id, role, created, tokens, content, blocks, metadata, updated"
    return f"SELECT r.* FROM ({union}) AS r ({names}) ORDER BY {_order(query, 'r.created', 'r.place')} {_limit(query)}"


def _range(query: MessageQuery, has_cursor: bool, condition: str) -> str:
    """The messages of one role, or of all."""
    source = "{schema}.messages m WHERE m.session_key = s.key"
    if query.ids is not None:
        source = (
            "unnest(%(ids)s::text[]) w (id) CROSS JOIN LATERAL (SELECT * FROM {schema}.messages x "
            "WHERE x.session_key = s.key AND x.id = w.id LIMIT 1) m WHERE true"
        )
    conditions = [_BOUNDS[name][3] for name in _BOUNDS if getattr(query, name) is not None]
    conditions += [_TIMES[name] for name in _TIMES if getattr(query, name) is not None]
    if has_cursor:
        sign = ">" if query.order == "asc" else "<"
        conditions.append(f" AND (m.created_at, m.place) {sign} (%(cursor_at)s::timestamptz, %(cursor_place)s)")
    order = _order(query, "m.created_at", "m.place")
    return f"SELECT {ROW_COLUMNS} FROM {source}{condition}{''.join(conditions)} ORDER BY {order} {_limit(query)}"


def _order(query: MessageQuery, *columns: str) -> str:
    return ", ".join(f"{column} {query.order}" for column in columns)


def _limit(query: MessageQuery) -> str:
    # A number in the text, not a parameter: plans depend on it.
    return f"LIMIT {query.limit + 1}"
