"""Finding messages by id: at the place that the id contains, or at the place in its pointer.

Only messages of another writer whose ids contain no time are found by reading the session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from session_continuity import Message, SessionNotFoundError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.message_codec import is_message, message_of
from session_continuity_dynamodb.items.places import place_from_id
from session_continuity_dynamodb.items.pointers import message_in_pointer, pointer_sort
from session_continuity_dynamodb.items.values import Item, by_sort_key
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.large_bodies import complete
from session_continuity_dynamodb.operations.one_tail import check_one_tail
from session_continuity_dynamodb.operations.session_heads import PendingTailError, check_session_exists
from session_continuity_dynamodb.requests.batches import get_item, get_items
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.pages import Pages, query

_MOST_OPERANDS = 100
"""How many values an `IN` of a condition takes."""


async def get_message(context: TableContext, session_id: str, message_id: str) -> Message | None:
    """One message, or None. Raises SessionNotFoundError."""
    [row] = await complete(context, await find_rows(context, session_id, [message_id]))
    return None if row is None else message_of(row, session_id)


async def find_rows(
    context: TableContext, session_id: str, message_ids: Sequence[str], *, consistent: bool | None = None
) -> list[Item | None]:
    """The rows of these messages in this order, None for one that the session does not have. Bodies in parts are not
    joined to them. Several are of one moment, as far as tails that are replaced are concerned.

    It takes one request if every id contains its place, and two with pointers. Raises SessionNotFoundError.
    """
    return (await find_with_head(context, session_id, message_ids, consistent=consistent))[0]


async def find_with_head(
    context: TableContext, session_id: str, message_ids: Sequence[str], *, consistent: bool | None = None
) -> tuple[list[Item | None], Item]:
    """`find_rows`, and the head of the session that was read with them."""
    lookup = await _look_up(context, session_id, message_ids, consistent=consistent)
    found = await lookup.rows()
    rows = [found.get(message_id) for message_id in message_ids]
    if len(rows) > 1:
        await check_one_tail(context, session_id, lookup.head, rows)
    return rows, lookup.head


async def find_for_update(
    context: TableContext, session_id: str, message_id: str, *, replaced: Collection[str] = ()
) -> Item | None:
    """A message's row for a conditional write, or None if the session does not have the message.

    If the pointer has every field except those in `replaced`, it is used, and one request is saved. None is certain:
    it comes from a consistent read. Raises SessionNotFoundError.
    """
    lookup = await _look_up(context, session_id, [message_id])
    pointer = lookup.found.get(pointer_sort(message_id))
    if pointer is not None:
        item, lacks = message_in_pointer(pointer)
        if lacks <= frozenset(replaced):
            return item
    row = (await lookup.rows()).get(message_id)
    if row is None and not context.sender.consistent:
        [row] = await find_rows(context, session_id, [message_id], consistent=True)
    return row


@dataclass
class _Lookup:
    """The result of a first request: a head of the session, and items at the assumed places by their sort keys."""

    context: TableContext
    session_id: str
    places: dict[str, str | None]
    head: Item
    found: dict[str, Item]
    consistent: bool | None

    async def rows(self) -> dict[str, Item]:
        """The rows by message id. Those that the first request did not find are read."""
        rows = _by_id(self.found.values())
        if missing := self._missing(rows):
            rows |= await self._follow_pointers(missing)
            missing = self._missing(rows)
        if missing and self._may_be_anywhere():
            rows |= await _search(self.context, self.session_id, missing, consistent=self.consistent)
        self.context.hints.remember_rows(self.session_id, rows.values())
        return rows

    def _may_be_anywhere(self) -> bool:
        """Whether there may be messages whose place follows neither from their id nor from a pointer."""
        is_kit_session = self.head[names.SORT_KEY]["S"] == keys.META
        return is_kit_session or self.context.options.beside_kit or Counters.of(self.head).foreign

    def _missing(self, rows: Collection[str]) -> list[str]:
        return [message_id for message_id in self.places if message_id not in rows]

    async def _follow_pointers(self, missing: list[str]) -> dict[str, Item]:
        read = partial(_read, self.context, self.session_id, consistent=self.consistent)
        unread = [message_id for message_id in missing if self.places[message_id] is not None]
        found = {**self.found, **await read(map(pointer_sort, unread))} if unread else self.found
        pointers = {sort: item for sort, item in found.items() if names.REF in item}
        if not pointers:
            return {}
        rows = await read([keys.MESSAGE + item[names.REF]["S"] for item in pointers.values()])
        led_nowhere = [sort for sort, item in pointers.items() if keys.MESSAGE + item[names.REF]["S"] not in rows]
        await self._check_unmoved({sort: pointers[sort] for sort in led_nowhere})
        return _by_id(rows.values())

    async def _check_unmoved(self, pointers: dict[str, Item]) -> None:
        """Raises PendingTailError if one of these pointers, which lead to no message, leads elsewhere by now: a new
        tail has the id again."""
        if not pointers:
            return
        now = await _read(self.context, self.session_id, pointers, consistent=True)
        if any(item.get(names.REF) != pointers[sort][names.REF] for sort, item in now.items()):
            raise PendingTailError


async def _look_up(
    context: TableContext, session_id: str, message_ids: Sequence[str], *, consistent: bool | None = None
) -> _Lookup:
    places = {message_id: _likely_place(context, session_id, message_id) for message_id in message_ids}
    first = [
        pointer_sort(message_id) if place is None else keys.MESSAGE + place for message_id, place in places.items()
    ]
    found = await _read(context, session_id, [keys.COUNTERS, *first], consistent=consistent)
    head = found.pop(keys.COUNTERS, None)
    if head is None:  # a session of the TypeScript kit
        head = await get_item(context.sender, context.keys.meta(session_id), consistent=consistent)
    if head is None:
        raise SessionNotFoundError(session_id)
    await check_session_exists(context, session_id, head)
    return _Lookup(context, session_id, places, head, found, consistent)


def _likely_place(context: TableContext, session_id: str, message_id: str) -> str | None:
    row = context.hints.row(session_id, message_id)
    return place_from_id(message_id) if row is None else keys.place_in(row)


async def _read(
    context: TableContext, session_id: str, sorts: Iterable[str], *, consistent: bool | None
) -> dict[str, Item]:
    wanted = [context.keys.item(session_id, sort) for sort in sorts]
    return by_sort_key(await get_items(context.sender, wanted, consistent=consistent))


def _by_id(items: Iterable[Item]) -> dict[str, Item]:
    return {item[names.ID]["S"]: item for item in items if is_message(item)}


async def _search(
    context: TableContext, session_id: str, missing: list[str], *, consistent: bool | None
) -> dict[str, Item]:
    """Read the session for messages that were written without a pointer."""
    expression = Expression()
    few = len(missing) <= _MOST_OPERANDS
    params = query(
        context.keys.partition(session_id),
        keys.MESSAGE,
        keys.AFTER_MESSAGES,
        expression=expression,
        filter=expression.any_of(names.ID, missing) if few else "",
        consistent=context.sender.consistent if consistent is None else consistent,
    )
    found: dict[str, Item] = {}
    async for rows in Pages(context.sender, params):
        found |= {message_id: row for message_id, row in _by_id(rows).items() if message_id in missing}
        if len(found) == len(missing):
            break
    return found
