"""Reading messages page by page.

The same request tells whether the session exists, wherever the range of keys reaches one of its heads: META before the
oldest message, the counters behind the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

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
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.message_codec import is_message, message_id_of, messages_of
from session_continuity_dynamodb.items.places import after_time, id_in, is_place, until_time
from session_continuity_dynamodb.items.values import Item, Value, by_sort_key
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.large_bodies import complete
from session_continuity_dynamodb.operations.lookup import find_with_head
from session_continuity_dynamodb.operations.message_rows import MessagePages
from session_continuity_dynamodb.operations.one_tail import check_one_tail
from session_continuity_dynamodb.operations.session_counters import load_session
from session_continuity_dynamodb.operations.session_heads import (
    PendingTailError,
    check_session_exists,
    is_live,
    read_heads,
)
from session_continuity_dynamodb.requests.batches import get_item, get_items

_HEADS = frozenset({keys.META, keys.COUNTERS})

_HEADS_IN_RANGE = 1
"""Rows that are not messages, where a read begins."""

_REMEMBERED_PAGE = 100
"""The longest page whose rows become hints for edits. Whoever reads more at once does not edit."""

_FILTERED_PAGE = 200
"""The least rows that a request reads when a filter leaves some of them out."""


async def get_messages(
    context: TableContext, session_id: str, query: MessageQuery, cursor: str | None
) -> Page[Message]:
    """A page of messages, see the contract."""
    return (await _read_page(context, session_id, query, cursor))[0]


async def _read_page(
    context: TableContext, session_id: str, query: MessageQuery, cursor: str | None
) -> tuple[Page[Message], Item]:
    """A page of messages, and a head of the session that was read with it."""
    bound_to = query.key(session_id)
    start = None if cursor is None else _place_in(cursor, bound_to)
    read = _read_range if query.ids is None else _read_chosen
    rows, has_more, head = await read(context, session_id, query, start)
    if len(rows) <= _REMEMBERED_PAGE:
        context.hints.remember_rows(session_id, rows)
    next_cursor = encode_cursor(keys.place_in(rows[-1]), bound_to=bound_to) if has_more else None
    whole = await _complete_matching(context, query, rows)
    messages, unreadable = messages_of(whole, session_id)
    return Page(tuple(messages), next_cursor, tuple(unreadable)), head


def _place_in(cursor: str, bound_to: str) -> str:
    place = decode_cursor(cursor, bound_to=bound_to, form=str)
    if not is_place(place):
        raise ValidationError("the cursor is malformed; pass a page's next_cursor unchanged, or none")
    return place


async def _complete_matching(context: TableContext, query: MessageQuery, rows: Sequence[Item]) -> list[Item]:
    """The rows with their bodies, without those that were meanwhile removed or edited into another role."""
    roles = query.roles
    whole = await complete(context, rows)
    return [row for row in whole if row is not None and (roles is None or row[names.ROLE]["S"] in roles)]


async def get_conversation(context: TableContext, session_id: str, query: MessageQuery) -> ConversationPage:
    """Session and page at the same time, then the system messages outside of the page, whose places the session
    lists. All messages are from before a tail was replaced, or from after it."""
    (meta, counters), (page, head) = await context.sender.both(
        partial(read_heads, context, session_id), partial(_read_page, context, session_id, query, None)
    )
    if meta is None or not is_live(context, meta, counters):
        raise SessionNotFoundError(session_id)
    loaded = await load_session(context, meta, counters)
    if loaded.tail_revision != head.get(names.TAIL_REVISION):
        raise PendingTailError
    shown = {*page.unreadable, *(message.id for message in page)}
    places = [place for place in loaded.totals.system_places if id_in(place) not in shown]
    system, unreadable = await _read_system_messages(context, session_id, places, loaded.tail_revision)
    return ConversationPage(
        session=loaded.session,
        messages=replace(page, unreadable=(*page.unreadable, *unreadable)),
        system_messages=tuple(system),
    )


async def _read_system_messages(
    context: TableContext, session_id: str, places: Sequence[str], tail_revision: Value | None
) -> tuple[list[Message], list[str]]:
    wanted = [context.keys.item(session_id, keys.MESSAGE + place) for place in places]
    rows = by_sort_key(await get_items(context.sender, wanted))
    if len(rows) < len(wanted):  # they may have gone with a tail
        await _check_revision(context, session_id, tail_revision)
    whole = await complete(context, [rows[sort] for sort in sorted(rows) if is_message(rows[sort])])
    return messages_of([row for row in whole if row is not None], session_id)


async def _check_revision(context: TableContext, session_id: str, tail_revision: Value | None) -> None:
    counters = await get_item(context.sender, context.keys.counters(session_id), consistent=True)
    if counters is not None and counters.get(names.TAIL_REVISION) != tail_revision:
        raise PendingTailError


async def _read_chosen(
    context: TableContext, session_id: str, query: MessageQuery, start: str | None
) -> tuple[list[Item], bool, Item]:
    """The messages with the ids of the query that meet its other conditions, whether there are more, and a head."""
    low, high, _ = await _bounds(context, session_id, query)
    is_rising = query.order == "asc"
    found, head = await find_with_head(context, session_id, sorted(query.ids or ()))
    rows = sorted((row for row in found if row is not None), key=keys.place_in, reverse=not is_rising)
    in_range = [row for row in rows if low < row[names.SORT_KEY]["S"] < high]
    messages, unreadable = messages_of(in_range, session_id)  # bodies in parts do not matter here
    chosen = {*unreadable, *(message.id for message in messages if query.selects(message))}
    within = [row for row in in_range if message_id_of(row) in chosen]
    if start is not None:
        within = [row for row in within if keys.place_in(row) != start and (keys.place_in(row) > start) == is_rising]
    return within[: query.limit], len(within) > query.limit, head


async def _bounds(context: TableContext, session_id: str, query: MessageQuery) -> tuple[str, str, list[Item]]:
    """The sort keys between which the messages of the query lie, both excluded, and the heads that were read for it.

    An open end reaches over the head behind it, whose row tells that the session exists. Raises MessageNotFoundError.
    """
    low, high = keys.META, keys.POINTER
    heads: list[Item] = []
    if query.after is not None:
        low = keys.MESSAGE + after_time(query.after)
    if query.before is not None:
        high = keys.MESSAGE + until_time(query.before)
    marks = [mark for mark in (query.after_id, query.before_id) if mark is not None]
    if marks:
        sorts, head = await _sort_keys(context, session_id, marks)
        heads.append(head)
        if query.after_id is not None:
            low = max(low, sorts[query.after_id])
        if query.before_id is not None:
            high = min(high, sorts[query.before_id])
    return low, high, heads


async def _sort_keys(context: TableContext, session_id: str, message_ids: Sequence[str]) -> tuple[dict[str, str], Item]:
    sorts: dict[str, str] = {}
    rows, head = await find_with_head(context, session_id, message_ids)
    for message_id, row in zip(message_ids, rows, strict=True):
        if row is None:
            raise MessageNotFoundError(session_id, message_id)
        sorts[message_id] = row[names.SORT_KEY]["S"]
    return sorts, head


async def _read_range(
    context: TableContext, session_id: str, query: MessageQuery, start: str | None
) -> tuple[list[Item], bool, Item]:
    """The first messages of the query, whether there are more, and a head. Raises SessionNotFoundError."""
    low, high, before = await _bounds(context, session_id, query)
    if low >= high:
        return [], False, await check_session_exists(context, session_id, None)
    newest_first = query.order == "desc"
    pages = MessagePages(context, session_id, low, high, newest_first=newest_first, roles=query.roles, after=start)
    rows, heads = await _collect(pages, query.limit + 1, {low, high}, is_filtered=query.roles is not None)
    head = await check_session_exists(context, session_id, heads[0] if heads else None)
    if not rows and not heads and low == keys.META and (newest_first or start is None):
        # META was in reach and missing: the session was created meanwhile, perhaps with its first messages.
        return await _read_range(context, session_id, query, start)
    if pages.requests > 1 and len(heads) == 1:  # no head was read behind the messages
        counters = await get_item(context.sender, context.keys.counters(session_id), consistent=True)
        heads += [counters] if counters is not None else []
    _check_moment([*before, *(heads or [head])])
    if pages.requests > 1:
        await check_one_tail(context, session_id, (heads or [head])[-1], rows, is_last=True)
    return rows[: query.limit], len(rows) > query.limit, head


async def _collect(
    pages: MessagePages, wanted: int, excluded: set[str], *, is_filtered: bool
) -> tuple[list[Item], list[Item]]:
    """So many messages from the pages, and the heads among the rows."""
    found: list[Item] = []
    heads: list[Item] = []
    while not pages.ended and len(found) < wanted:
        missing = wanted - len(found)
        # The limit counts rows before the filter, and the head at the end of the range is a row too.
        pages.limit = (max(missing, _FILTERED_PAGE) if is_filtered else missing) + _HEADS_IN_RANGE
        for row in await anext(pages):
            if is_message(row):
                if row[names.SORT_KEY]["S"] not in excluded:
                    found.append(row)
            elif row[names.SORT_KEY]["S"] in _HEADS:
                heads.append(row)
    return found[:wanted], heads


def _check_moment(heads: list[Item]) -> None:
    """Raises PendingTailError if a tail was replaced between the reads of these heads, or is being replaced."""
    if any(
        names.REPLACING in head or head.get(names.TAIL_REVISION) != heads[0].get(names.TAIL_REVISION) for head in heads
    ):
        raise PendingTailError
