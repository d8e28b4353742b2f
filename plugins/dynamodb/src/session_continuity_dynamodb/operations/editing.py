"""Edits of messages. Each is one transaction of the message and the counters, which hold the totals.

It is conditional on what is assumed of the message: its revision, tokens and role. If the condition fails, the response
holds the message as it is, and the edit is repeated from that.
"""

from __future__ import annotations

from collections.abc import Set

from session_continuity import Message, MessageNotFoundError, Patch
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.large_messages import (
    NewRow,
    fits_transaction,
    is_system,
    new_row,
    part_keys,
    row_with_same_body,
)
from session_continuity_dynamodb.items.message_codec import BODY_FIELDS, EDITED, is_message, message_of
from session_continuity_dynamodb.items.pointers import pointer_item
from session_continuity_dynamodb.items.values import Item, key_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import set_gate_beside_kit
from session_continuity_dynamodb.operations.large_bodies import complete
from session_continuity_dynamodb.operations.lookup import find_for_update, find_rows
from session_continuity_dynamodb.operations.message_conditions import is_as_assumed
from session_continuity_dynamodb.operations.session_counters import check_open_session, recount
from session_continuity_dynamodb.operations.system_messages import is_full, new_entries, removal_actions
from session_continuity_dynamodb.requests.batches import delete_items
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.transactions import Action, delete, put, transact, update

_COMPARABLE = frozenset({names.CONTENT, names.METADATA, names.BLOCKS})


async def update_message(context: TableContext, session_id: str, message_id: str, patch: Patch) -> Message:
    """Change one message, see the contract."""
    await set_gate_beside_kit(context, session_id)
    replaced = patch.set.keys() | patch.clear
    row = context.hints.row(session_id, message_id)
    row = row or await find_for_update(context, session_id, message_id, replaced=replaced)
    is_list_full = context.hints.last_row(session_id).is_list_full
    async for _ in context.sender.attempts():
        if row is not None and not replaced >= BODY_FIELDS:
            [row] = await complete(context, [row])
        if row is None:
            raise MessageNotFoundError(session_id, message_id)
        after = patch.apply(message_of(row, session_id))
        write_id = keys.new_write_id()
        edited = _edit_row(context, row, after, patch.fields, write_id)
        try:
            await _replace(context, session_id, row, edited, write_id, is_list_full=is_list_full)
        except CancelledTransactionError as cancelled:
            message, counters, *_ = cancelled.reasons
            if counters.failed:
                is_list_full = is_full(await check_open_session(context, session_id, counters.item), 1)
            if message.failed:
                row = message.item
                if row is None or not is_message(row):  # removed, or an engine that does not return the item
                    [row] = await find_rows(context, session_id, [message_id], consistent=True)
        else:
            context.hints.remember_rows(session_id, [edited.item])
            return after
    raise contention()


def _edit_row(context: TableContext, row: Item, after: Message, changed: Set[str], write_id: str) -> NewRow:
    """The row after the edit. Raises MessageTooLargeError."""
    partition = row[names.PARTITION_KEY]["S"]
    if names.PARTS in row and changed.isdisjoint(BODY_FIELDS):
        return row_with_same_body(partition, after, row, revision=write_id)
    own_id = names.OWN_ID in row
    return new_row(partition, keys.place_in(row), after, context.options, own_id=own_id, revision=write_id)


async def _replace(
    context: TableContext, session_id: str, row: Item, edited: NewRow, write_id: str, *, is_list_full: bool
) -> None:
    """Make the edit in one transaction, and delete the parts that it leaves behind."""
    item = edited.item
    pointers = [put(pointer_item(item))] if edited.own_id else []
    was_system, is_system_now = is_system(row), is_system(item)
    left = [row] if was_system and not is_system_now else []
    added = [item] if is_system_now and not was_system else []
    others = 2 + len(pointers) + len(edited.parts)
    entries = new_entries(context, added, actions=others, is_full=is_list_full)
    actions = [
        _edit(row, item),
        recount(context, session_id, [row], [item], write_id, left=left, entries=entries),
        *pointers,
        *removal_actions(left),
        *map(put, entries.rows),
    ]
    old = [] if row.get(names.PARTS) == item.get(names.PARTS) else part_keys(row)
    if fits_transaction(old, context.options, actions=len(actions) + len(edited.parts), size=edited.size):
        actions += map(delete, old)
        old = []
    await transact(context.sender, actions, write_id, parts=edited.parts)
    await delete_items(context.sender, old)


def _edit(row: Item, item: Item) -> Action:
    """Change the row into the new item, if it is as assumed. Attributes of other writers stay."""
    change = Update()
    change.where(*is_as_assumed(change, row))
    for attribute in EDITED:
        if _stays(row, item, attribute):
            change.where(change.same(attribute, item[attribute]))
        else:
            change.set(attribute, item.get(attribute))
    return update(key_of(row), change)


def _stays(row: Item, item: Item, attribute: str) -> bool:
    """Whether an edit leaves this part of the body as assumed, which is then a condition.

    A message that was made anew with its session may say something else and still have the same revision, none. Only
    texts are compared, because not every engine compares lists.
    """
    return (
        attribute in _COMPARABLE
        and attribute in row
        and "S" in row[attribute]
        and row[attribute] == item.get(attribute)
    )
