"""Reading messages page by page, with the session's existence checked by the same request wherever the range of keys
reaches a head: META before the oldest message, the activity item behind the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
)
from session_continuity_dynamodb import codec, keys
from session_continuity_dynamodb.activity import DELETING, is_gone
from session_continuity_dynamodb.bodies import ATTRIBUTES, is_message, message_of
from session_continuity_dynamodb.editing import remove
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.lookup import locate
from session_continuity_dynamodb.parts import removals, whole
from session_continuity_dynamodb.sessions import adopt, totals
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, by_sort_key, text

_READ = ("SK", *ATTRIBUTES, "status", "expiresAt", DELETING)
"""What is asked for: all that a message or a head is read for. Left out are the partition key and the session's id,
which are the same in every row and take a tenth of a page."""

_GATES = frozenset({keys.META, keys.ACTIVITY})

_HEADS = 1
"""Rows that are no messages at the end of a range where reading starts."""

_REMEMBERED_PAGE = 100
"""The longest page whose rows are kept as first guesses for edits: whoever reads more reads, and does not edit."""

_FILTERED_PAGE = 200
"""Rows that one request reads at least when a filter leaves some of them out."""


async def get_messages(store: Store, session_id: str, query: MessageQuery, cursor: str | None) -> Page[Message]:
    start = None if cursor is None else _position(cursor, query.key(session_id))
    if query.ids is not None:
        rows, more = await _chosen(store, session_id, query, start)
    else:
        rows, more = await _range(store, session_id, query, start)
    if len(rows) <= _REMEMBERED_PAGE:
        store.known.seen(session_id, rows)
    following = encode_cursor(keys.place_of(rows[-1]), bound_to=query.key(session_id)) if more else None
    return Page(tuple([message_of(row, session_id) for row in await _whole(store, query, rows)]), following)


async def _whole(store: Store, query: MessageQuery, rows: Sequence[Item]) -> list[Item]:
    """The rows with their bodies, without those that an edit or a removal took out of the answer meanwhile."""
    roles = query.roles
    read = await whole(store, rows)
    return [row for row in read if row is not None and (roles is None or row["role"]["S"] in roles)]


async def get_conversation(store: Store, session_id: str, query: MessageQuery) -> ConversationPage:
    """Session and page at once; then the system messages outside of the page, whose places the session knows."""
    (meta, activity), page = await store.wire.both(
        partial(store.heads, session_id), partial(get_messages, store, session_id, query, None)
    )
    if meta is None or not store.is_live(meta, activity):
        raise SessionNotFoundError(session_id)
    held = await totals(store, meta, activity)
    shown = {message.id for message in page}
    places = [place for place in held.system_places if keys.place_id(place) not in shown]
    rows = by_sort_key(await store.wire.get_all([store.row_key(session_id, place) for place in places]))
    system = await whole(store, [rows[sort] for sort in sorted(rows) if is_message(rows[sort])])
    return ConversationPage(
        session=codec.session_of(meta, held),
        messages=page,
        system_messages=tuple(message_of(row, session_id) for row in system if row is not None),
    )


def _position(cursor: str, bound_to: str) -> str:
    position = decode_cursor(cursor, bound_to=bound_to, form=str)
    if len(position) < 26:
        raise ValidationError("the cursor is malformed; pass a page's next_cursor unchanged, or none")
    return position


async def _chosen(store: Store, session_id: str, query: MessageQuery, start: str | None) -> tuple[list[Item], bool]:
    """Messages that were asked for by their ids, cut to the query's other conditions."""
    low, high = await _bounds(store, session_id, query)
    located = await locate(store, session_id, sorted(query.ids or ()))
    rows = sorted((row for row in located if row is not None), key=keys.place_of, reverse=query.order == "desc")
    within = [row for row in rows if low < row["SK"]["S"] < high and query.selects(message_of(row, session_id))]
    if start is not None:
        within = [
            row
            for row in within
            if (keys.place_of(row) > start) == (query.order == "asc") and keys.place_of(row) != start
        ]
    return within[: query.limit], len(within) > query.limit


async def _bounds(store: Store, session_id: str, query: MessageQuery) -> tuple[str, str]:
    """The sort keys between which the answer lies, both left out.

    An open end reaches over the head that lies behind it, whose row then tells that the session is there.
    """
    low, high = keys.META, keys.POINTER
    if query.after is not None:
        low = keys.MESSAGE + keys.after_time(query.after)
    if query.before is not None:
        high = keys.MESSAGE + keys.until_time(query.before)
    marks = [mark for mark in (query.after_id, query.before_id) if mark is not None]
    if marks:
        places = dict(zip(marks, await locate(store, session_id, marks), strict=True))
        for mark, row in places.items():
            if row is None:
                raise MessageNotFoundError(session_id, mark)
        low = max([low, *(row["SK"]["S"] for mark, row in places.items() if row and mark == query.after_id)])
        high = min([high, *(row["SK"]["S"] for mark, row in places.items() if row and mark == query.before_id)])
    return low, high


@dataclass
class _Reader:
    """One page being read: request after request until enough rows matched or the range has ended."""

    store: Store
    session_id: str
    params: dict[str, Any]
    wanted: int
    filtered: bool
    gate: Item | None = None

    async def read(self, exclude: frozenset[str]) -> list[Item]:
        found: list[Item] = []
        while True:
            missing = self.wanted - len(found)
            limit = max(missing, _FILTERED_PAGE) if self.filtered else missing
            rows, following = await _rows(self.store, self.session_id, self.params, limit=limit + _HEADS)
            found += [row for row in rows if is_message(row) and row["SK"]["S"] not in exclude]
            self.gate = self.gate or next((row for row in rows if row["SK"]["S"] in _GATES), None)
            if following is None or len(found) >= self.wanted:
                return found[: self.wanted]
            self.params["ExclusiveStartKey"] = following


async def _range(store: Store, session_id: str, query: MessageQuery, start: str | None) -> tuple[list[Item], bool]:
    low, high = await _bounds(store, session_id, query)
    if low >= high:
        await store.check_gate(session_id, None)
        return [], False
    reader = _Reader(
        store, session_id, _request(store, session_id, query, low, high), query.limit + 1, query.roles is not None
    )
    if start is not None:
        reader.params["ExclusiveStartKey"] = store.row_key(session_id, start)
    rows = await reader.read(frozenset({low, high}))
    await store.check_gate(session_id, reader.gate)
    return rows[: query.limit], len(rows) > query.limit


def _request(store: Store, session_id: str, query: MessageQuery, low: str, high: str) -> dict[str, Any]:
    expression = Expression()
    partition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    condition = f"{partition} AND {expression.between('SK', text(low), text(high))}"
    params: dict[str, Any] = {
        "KeyConditionExpression": condition,
        "ScanIndexForward": query.order == "asc",
        "ConsistentRead": store.wire.consistent,
    }
    if query.roles is not None:
        roles = expression.any_of("role", [text(role) for role in sorted(query.roles)])
        params["FilterExpression"] = f"{roles} OR {expression.absent('role')}"
    params["ProjectionExpression"] = ", ".join(map(expression.name, _READ))
    return {**params, **expression.params()}


async def _rows(
    store: Store, session_id: str, params: dict[str, Any], *, limit: int | None = None
) -> tuple[list[Item], Item | None]:
    """One page of `_request`, its rows with their whole key."""
    rows, following = await store.wire.query(params, limit=limit)
    partition = text(store.keys.partition(session_id))
    for row in rows:
        row["PK"] = partition
    return rows, following


async def delete_all_messages(store: Store, session_id: str) -> int:
    """Remove in transactions what was there at the call: every message up to the newest one then."""
    newest, activity = await _newest(store, session_id)
    if activity is None:
        await adopt(store, session_id)
    elif is_gone(activity, store.now()):
        raise SessionNotFoundError(session_id)
    if newest is None:
        return 0
    request = _request(store, session_id, MessageQuery(), keys.MESSAGE, newest)
    request["ConsistentRead"] = True
    removed = 0
    while True:
        rows, following = await _rows(store, session_id, request)
        for turn in removals([row for row in rows if is_message(row)], store.options):
            removed += await remove(store, session_id, turn)
        if following is None:
            return removed
        request["ExclusiveStartKey"] = following


async def _newest(store: Store, session_id: str) -> tuple[str | None, Item | None]:
    """The sort key of the newest message, and the activity item."""
    request = _request(store, session_id, MessageQuery(order="desc"), keys.MESSAGE, keys.ACTIVITY)
    request["ConsistentRead"] = True
    rows, _ = await _rows(store, session_id, request, limit=2)
    found = by_sort_key(rows)
    activity = found.pop(keys.ACTIVITY, None)
    return max(found, default=None), activity
