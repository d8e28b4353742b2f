"""Removing one message, or all of them.

The removal of one is a transaction of the message and the counters, which hold the totals. It is conditional on what is
assumed of the message. If a condition fails, the message is read, and the removal is repeated from that. The removal of
all replaces the tail behind the beginning by nothing, see `tails`.
"""

from __future__ import annotations

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.large_messages import fits_transaction, is_system, part_keys
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
from session_continuity_dynamodb.operations.tails import remove_all
from session_continuity_dynamodb.requests.batches import delete_items, get_item
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.transactions import Action, delete, transact


async def delete_message(context: TableContext, session_id: str, message_id: str) -> bool:
    """Remove one message, see the contract."""
    await set_gate_beside_kit(context, session_id)
    row = context.hints.row(session_id, message_id)
    if row is not None and await _remove(context, session_id, row):
        return True
    row = await find_for_update(context, session_id, message_id, replaced=BODY_FIELDS)
    return row is not None and await _remove(context, session_id, row)


async def delete_all_messages(context: TableContext, session_id: str) -> int:
    """Remove every message and return how many, in one step that every reader sees whole.

    Without transactions it is the messages that the session has at the call, one after the other.
    """
    if context.sender.atomic:
        return await remove_all(context, session_id)
    await set_gate_beside_kit(context, session_id)
    newest = await _read_newest(context, session_id)
    if newest is None:
        return 0
    removed = 0
    async for rows in MessagePages(context, session_id, keys.MESSAGE, newest, consistent=True):
        for row in filter(is_message, rows):
            removed += await _remove(context, session_id, row)
    return removed


async def _read_newest(context: TableContext, session_id: str) -> str | None:
    """The sort key of the newest message. Raises SessionNotFoundError."""
    pages = MessagePages(context, session_id, keys.MESSAGE, keys.COUNTERS, newest_first=True, consistent=True, limit=2)
    found = by_sort_key(await anext(pages))
    counters = found.pop(keys.COUNTERS, None)  # they lie behind the messages
    if counters is None:  # what was read is of a moment at which the session may not have been there
        await adopt_session(context, session_id)
        return await _read_newest(context, session_id)
    await check_open_session(context, session_id, counters)
    return max(found, default=None)


async def _remove(context: TableContext, session_id: str, row: Item) -> bool:
    """Remove the message of this row, and return whether it still existed."""
    context.hints.forget_row(session_id, row[names.ID]["S"])
    async for _ in context.sender.attempts():
        try:
            await _write_removal(context, session_id, row)
        except CancelledTransactionError as cancelled:
            counters = cancelled.reasons[-1]
            if counters.failed:
                await check_open_session(context, session_id, counters.item)
            now = await get_item(context.sender, key_of(row), consistent=True)
            if now is None or not is_message(now):
                return False
            row = now
        else:
            return True
    raise contention()


async def _write_removal(context: TableContext, session_id: str, row: Item) -> None:
    write_id = keys.new_write_id()
    system = [row] if is_system(row) else []
    actions = [_remove_row(row), *_remove_pointer(context, session_id, row), *removal_actions(system)]
    parts = part_keys(row)
    if fits_transaction(parts, context.options, actions=len(actions) + 1, size=item_size(row)):
        actions += map(delete, parts)
        parts = []
    actions.append(recount(context, session_id, [row], [], write_id, left=system, entries=NO_ENTRIES))
    await transact(context.sender, actions, write_id)
    await delete_items(context.sender, parts)


def _remove_row(row: Item) -> Action:
    expression = Expression()
    expression.where(*is_as_assumed(expression, row))
    return delete(key_of(row), expression)


def _remove_pointer(context: TableContext, session_id: str, row: Item) -> list[Action]:
    if names.OWN_ID not in row:
        return []
    return [delete(context.keys.item(session_id, pointer_sort(row[names.ID]["S"])))]
