"""Removals of messages. Each is one transaction of the messages and the counters, which hold the totals.

It is conditional on what is assumed of the messages. If a condition fails, the messages are read, and the removal is
repeated from that.
"""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.large_messages import fits_transaction, is_system, part_keys, removal_groups
from session_continuity_dynamodb.items.message_codec import BODY_FIELDS, is_message
from session_continuity_dynamodb.items.pointers import pointer_sort
from session_continuity_dynamodb.items.values import Item, by_sort_key, item_size, key_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import set_gate_beside_kit
from session_continuity_dynamodb.operations.lookup import find_for_update
from session_continuity_dynamodb.operations.message_conditions import is_as_assumed
from session_continuity_dynamodb.operations.message_rows import MessagePages
from session_continuity_dynamodb.operations.session_counters import adopt_session, check_open_session, recount
from session_continuity_dynamodb.operations.system_messages import NO_ENTRIES, removal_actions
from session_continuity_dynamodb.requests.batches import delete_items, get_items
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.transactions import Action, delete, transact


async def delete_message(context: TableContext, session_id: str, message_id: str) -> bool:
    """Remove one message, see the contract."""
    await set_gate_beside_kit(context, session_id)
    row = context.hints.row(session_id, message_id)
    if row is not None and await _remove(context, session_id, [row]) == 1:
        return True
    row = await find_for_update(context, session_id, message_id, replaced=BODY_FIELDS)
    return row is not None and await _remove(context, session_id, [row]) == 1


async def delete_all_messages(context: TableContext, session_id: str) -> int:
    """Remove the messages that the session has at the call, up to the newest one, and return how many."""
    await set_gate_beside_kit(context, session_id)
    newest, counters = await _read_newest(context, session_id)
    if counters is None:
        await adopt_session(context, session_id)
    else:
        await check_open_session(context, session_id, counters)
    if newest is None:
        return 0
    removed = 0
    async for rows in MessagePages(context, session_id, keys.MESSAGE, newest, consistent=True):
        for group in removal_groups([row for row in rows if is_message(row)], context.options):
            removed += await _remove(context, session_id, group)
    return removed


async def _read_newest(context: TableContext, session_id: str) -> tuple[str | None, Item | None]:
    """The sort key of the newest message, and the counters, which lie behind it."""
    pages = MessagePages(context, session_id, keys.MESSAGE, keys.COUNTERS, newest_first=True, consistent=True, limit=2)
    found = by_sort_key(await anext(pages))
    counters = found.pop(keys.COUNTERS, None)
    return max(found, default=None), counters


async def _remove(context: TableContext, session_id: str, rows: Sequence[Item]) -> int:
    """Remove those of these rows that still exist, and return how many that were."""
    for row in rows:
        context.hints.forget_row(session_id, row[names.ID]["S"])
    async for _ in context.sender.attempts():
        try:
            await _remove_group(context, session_id, rows)
        except CancelledTransactionError as cancelled:
            counters = cancelled.reasons[-1]
            if counters.failed:
                await check_open_session(context, session_id, counters.item)
            now = await get_items(context.sender, [key_of(row) for row in rows], consistent=True)
            groups = removal_groups([row for row in now if names.ID in row], context.options)
            if len(groups) != 1:  # none is left, or edits have made them too much for one transaction
                return sum([await _remove(context, session_id, group) for group in groups])
            [rows] = groups
        else:
            return len(rows)
    raise contention()


async def _remove_group(context: TableContext, session_id: str, rows: Sequence[Item]) -> None:
    write_id = keys.new_write_id()
    system = [row for row in rows if is_system(row)]
    actions = [*map(_remove_row, rows), *_remove_pointers(context, session_id, rows), *removal_actions(system)]
    parts = [key for row in rows for key in part_keys(row)]
    if fits_transaction(parts, context.options, actions=len(actions) + 1, size=sum(map(item_size, rows))):
        actions += map(delete, parts)
        parts = []
    actions.append(recount(context, session_id, rows, [], write_id, left=system, entries=NO_ENTRIES))
    await transact(context.sender, actions, write_id)
    await delete_items(context.sender, parts)


def _remove_row(row: Item) -> Action:
    expression = Expression()
    expression.where(*is_as_assumed(expression, row))
    return delete(key_of(row), expression)


def _remove_pointers(context: TableContext, session_id: str, rows: Sequence[Item]) -> list[Action]:
    sorts = [pointer_sort(row[names.ID]["S"]) for row in rows if names.OWN_ID in row]
    return [delete(context.keys.item(session_id, sort)) for sort in sorts]
