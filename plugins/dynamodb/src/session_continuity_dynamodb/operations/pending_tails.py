"""Tails that are being replaced: a mark on both heads, by which every call finishes the work before it goes on.

A replacement that does not fit into one transaction begins with one that writes the new messages, the totals and the
mark. From then on it is done: whoever meets the mark, on whichever head, removes the old messages first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.large_messages import is_system, part_keys
from session_continuity_dynamodb.items.pointers import pointer_sort
from session_continuity_dynamodb.items.values import Item, by_sort_key, key_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_heads import PendingTailError, read_heads
from session_continuity_dynamodb.operations.system_messages import list_keys
from session_continuity_dynamodb.requests.batches import get_items
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, check, delete, transact, update

T = TypeVar("T")

_ATTRIBUTES = (names.PARTITION_KEY, names.SORT_KEY, names.ID, names.OWN_ID, names.PARTS, names.ROLE)


def mark_of(write_id: str, low: str, high: str) -> Item:
    """The mark of a replacement that removes the messages behind the place `low`, up to `high`."""
    return {names.REPLACING: {"L": [{"S": write_id}, {"S": low}, {"S": high}]}}


async def settled(context: TableContext, session_id: str, call: Callable[[], Awaitable[T]]) -> T:
    """The result of the call, which is repeated after it has met a tail that is being replaced."""
    async for _ in context.sender.attempts():
        with suppress(PendingTailError):
            return await call()
        await finish(context, session_id)
    raise contention()


async def finish(context: TableContext, session_id: str) -> None:
    """Remove what a replacement has left, and the mark, if there is one. Others may do the same at the same time."""
    _, counters = await read_heads(context, session_id, consistent=True)
    if counters is None or names.REPLACING not in counters:
        return
    mark = counters[names.REPLACING]
    _, low, high = (text["S"] for text in mark["L"])
    params = query(
        context.keys.partition(session_id),
        keys.MESSAGE + low,
        keys.MESSAGE + high,
        attributes=_ATTRIBUTES,
        consistent=True,
    )
    with suppress(CancelledTransactionError):  # somebody else has finished it
        async for rows in Pages(context.sender, params):
            old = [row for row in rows if keys.place_in(row) != low]
            await _remove(context, session_id, mark, await _leftovers(context, session_id, old))
        unmark = [_unmark(context.keys.counters(session_id), mark), _unmark(context.keys.meta(session_id), mark)]
        await transact(context.sender, unmark, keys.new_write_id())


async def _leftovers(context: TableContext, session_id: str, rows: Sequence[Item]) -> list[Item]:
    """The keys of these messages and of all that belongs to them. A pointer may lead to a new message by now."""
    own = {row[names.ID]["S"]: keys.place_in(row) for row in rows if names.OWN_ID in row}
    pointers = [context.keys.item(session_id, pointer_sort(message_id)) for message_id in own]
    found = by_sort_key(await get_items(context.sender, pointers, consistent=True)) if pointers else {}
    return [
        *map(key_of, rows),
        *[key for row in rows for key in part_keys(row)],
        *list_keys([row for row in rows if is_system(row)]),
        *[key_of(pointer) for pointer in found.values() if pointer[names.REF]["S"] in own.values()],
    ]


async def _remove(context: TableContext, session_id: str, mark: Item, items: Sequence[Item]) -> None:
    size = context.options.transaction_items - 1
    for start in range(0, len(items), size):
        expression = Expression()
        expression.where(expression.same(names.REPLACING, mark))
        guard = check(context.keys.counters(session_id), expression)
        await transact(context.sender, [guard, *map(delete, items[start : start + size])], keys.new_write_id())


def _unmark(key: Item, mark: Item) -> Action:
    change = Update()
    change.remove(names.REPLACING)
    change.where(change.same(names.REPLACING, mark))
    return update(key, change)
