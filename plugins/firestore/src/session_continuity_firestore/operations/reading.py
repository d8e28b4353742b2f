"""Reading messages: by id, in pages, and with their session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from session_continuity import (
    ConversationPage,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    decode_cursor,
    encode_cursor,
)
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.gate import GATE_FIELDS
from session_continuity_firestore.documents.message_codec import Row, place_of, row_of
from session_continuity_firestore.documents.places import first_place_after, first_place_at_or_after
from session_continuity_firestore.documents.session_codec import session_of
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.operations.sessions import READ
from session_continuity_firestore.requests.queries import Position, Where, ordered
from session_continuity_firestore.wire.values import Moment, encode, encode_moment, moment_in

_ROLES = 4


async def get_message(context: Context, session_id: str, message_id: str) -> Message | None:
    """The message, None if the session does not have it. Raises SessionNotFoundError."""
    name = context.names.message(session_id, message_id)
    _, documents = await context.existing_with(session_id, [name])
    document = documents.get(name)
    if document is None or place_of(document) is None:
        return None
    return row_of(document, session_id).readable(session_id)


async def get_messages(context: Context, session_id: str, query: MessageQuery, cursor: str | None) -> Page[Message]:
    """One page. The session is read at the same time."""
    start = _start(query, session_id, cursor)
    if query.ids is not None:
        return await _by_ids(context, session_id, query, start)
    bounds = await _bounds(context, session_id, query)
    wanted = _wanted(query, bounds, start)
    if wanted is None:
        context.existing(session_id, await context.client.get(context.names.session(session_id), GATE_FIELDS))
        return Page(())
    answers, _ = await read_with_messages(context, session_id, wanted, GATE_FIELDS)
    return _page(session_id, query, answers)


async def get_conversation(context: Context, session_id: str, query: MessageQuery) -> ConversationPage:
    """The session, the first page, and the other system messages."""
    name = context.names.session(session_id)
    bounds = await _bounds(context, session_id, query)
    wanted = None if query.ids is not None else _wanted(query, bounds, None)
    if wanted is None:
        document = await context.client.get(name, READ)
        context.existing(session_id, document)
        page = Page[Message](()) if query.ids is None else await _by_ids(context, session_id, query, None)
    else:
        answers, document = await read_with_messages(context, session_id, wanted, READ, agree=True)
        page = _page(session_id, query, answers)
    session = session_of(document)
    shown = {message.id for message in page}
    missing = [message_id for message_id in session.system_message_ids if message_id not in shown]
    rows = await _rows(context, session_id, missing) if missing else []
    system = tuple(row.message for row in rows if row.message is not None)
    return ConversationPage(session=session, messages=page, system_messages=system)


async def read_with_messages(
    context: Context, session_id: str, wanted: Any, fields: Sequence[str], *, agree: bool = False
) -> tuple[Sequence[Any], Any]:
    """The answers of a query of messages, and META, read at once. Raises SessionNotFoundError.

    The two are of two moments. The session must have been there at that of the query: it must not be created later.
    With `agree`, META must not have been changed later either. If the session has more messages than were found, they
    may have been deleted since META was read, so that is read again.

    The query is sent first. Where the service reads META first all the same, and another client writes in between,
    META is older than the list.
    """
    name = context.names.session(session_id)
    while True:
        answers, document = await context.client.query_and_get(name, wanted, name, fields)
        gate, listed = context.existing(session_id, document), moment_in(answers[0].read_time)
        if (moment_in(gate.stamp) if agree else gate.born) > listed:
            continue
        found = sum(answer.HasField("document") for answer in answers)
        is_full = wanted.HasField("limit") and found == wanted.limit.value
        if is_full or found >= gate.messages:
            return answers, document
        again = await context.client.get(name, fields)
        now = context.existing(session_id, again)
        if now.born == gate.born and not (agree and moment_in(now.stamp) > listed):
            return answers, again


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The positions of the messages that a query lies between."""

    after: Position | None = None
    before: Position | None = None


async def _bounds(context: Context, session_id: str, query: MessageQuery) -> _Bounds:
    """The positions of `after_id` and `before_id`. Raises MessageNotFoundError."""
    ids = [message_id for message_id in (query.after_id, query.before_id) if message_id is not None]
    if not ids:
        return _Bounds()
    wanted = [context.names.message(session_id, message_id) for message_id in ids]
    _, documents = await context.existing_with(session_id, wanted, GATE_FIELDS)
    found: dict[str, Position] = {}
    for message_id, name in zip(ids, wanted, strict=True):
        place = place_of(documents[name]) if name in documents else None
        if place is None:
            raise MessageNotFoundError(session_id, message_id)
        found[message_id] = Position(place, name)
    return _Bounds(found.get(query.after_id or ""), found.get(query.before_id or ""))


def _wanted(query: MessageQuery, bounds: _Bounds, start: Position | None) -> Any:
    """The query for one page. None if nothing can meet its conditions."""
    where = _roles(query)
    if where is None:
        return None
    if query.after is not None:
        if (begin := first_place_after(query.after)) is None:
            return None
        where.append(Where(names.CREATED_AT, ">=", encode_moment(begin)))
    if query.before is not None and (end := first_place_at_or_after(query.before)) is not None:
        where.append(Where(names.CREATED_AT, "<", encode_moment(end)))
    first, last = bounds.after, bounds.before
    if query.order == "desc":
        first, last = last, first
    return ordered(
        names.MESSAGES,
        names.CREATED_AT,
        limit=query.limit,
        where=where,
        descending=query.order == "desc",
        after=start or first,
        before=last,
    )


def _roles(query: MessageQuery) -> list[Where] | None:
    if query.roles is None or len(query.roles) == _ROLES:
        return []
    if not query.roles:
        return None
    if len(query.roles) == 1:
        return [Where(names.ROLE, "==", encode(next(iter(query.roles))))]
    return [Where(names.ROLE, "in", encode(sorted(query.roles)))]


def _start(query: MessageQuery, session_id: str, cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    place, name = decode_cursor(cursor, bound_to=query.key(session_id), form=tuple[int, str])
    return Position(Moment(place), name)


def _page(session_id: str, query: MessageQuery, answers: Iterable[Any]) -> Page[Message]:
    """The page of a query's answers. A full page has a cursor, although it may be the last."""
    rows = [row_of(answer.document, session_id) for answer in answers if answer.HasField("document")]
    return _page_of(session_id, query, rows, is_full=len(rows) == query.limit)


def _page_of(session_id: str, query: MessageQuery, rows: Sequence[Row], *, is_full: bool) -> Page[Message]:
    cursor = encode_cursor([rows[-1].place, rows[-1].name], bound_to=query.key(session_id)) if is_full else None
    return Page(
        tuple(row.message for row in rows if row.message is not None),
        cursor,
        tuple(row.id for row in rows if row.message is None),
    )


async def _rows(context: Context, session_id: str, ids: Iterable[str]) -> list[Row]:
    """The messages with these ids that exist, in the order of the conversation."""
    found = await context.client.get_all(context.names.message(session_id, message_id) for message_id in ids)
    rows = [row_of(document, session_id) for document in found.values()]
    return sorted((row for row in rows if row.place is not None), key=_position)


def _position(row: Row) -> tuple[int, str]:
    return row.place or 0, row.name


async def _by_ids(context: Context, session_id: str, query: MessageQuery, start: Position | None) -> Page[Message]:
    """One page of the messages with chosen ids. They are read by name, and sorted here."""
    bounds = await _bounds(context, session_id, query)
    name = context.names.session(session_id)
    wanted = [context.names.message(session_id, message_id) for message_id in sorted(query.ids or ())]
    _, documents = await context.existing_with(session_id, wanted)
    rows = [row_of(document, session_id) for document in documents.values() if document.name != name]
    rows = sorted((row for row in rows if row.place is not None), key=_position)
    low, high = bounds.after, bounds.before
    if start is not None:
        low, high = (start, high) if query.order == "asc" else (low, start)
    rows = [
        row
        for row in rows
        if (low is None or _position(row) > (low.moment, low.name))
        and (high is None or _position(row) < (high.moment, high.name))
        and (row.message is None or query.selects(row.message))
    ]
    if query.order == "desc":
        rows.reverse()
    return _page_of(session_id, query, rows[: query.limit], is_full=len(rows) > query.limit)
