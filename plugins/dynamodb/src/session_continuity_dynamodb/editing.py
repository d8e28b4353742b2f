"""Edits and removals of messages: each is one transaction of them and the activity item, which holds the totals.

What is known of a message, its tokens and its revision, is a condition; when it does not hold, the failed request
brings back what is there, and the write is made anew from that.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from session_continuity import Message, MessageNotFoundError, Patch
from session_continuity_dynamodb import keys, system
from session_continuity_dynamodb.activity import DELETING, count
from session_continuity_dynamodb.bodies import BODY, BODY_FIELDS, PARTS, is_message, message_of, pointer_item
from session_continuity_dynamodb.errors import CancelledTransactionError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.lookup import foresee, locate
from session_continuity_dynamodb.parts import Stored, part_keys, removable, removals, stored, whole, with_same_body
from session_continuity_dynamodb.sessions import opened
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, integer, item_size, key_of, text
from session_continuity_dynamodb.wire import Action, new_write_id

_TEXTS = frozenset({"content", "metadata", "blocks"})


async def update(store: Store, session_id: str, message_id: str, patch: Patch) -> Message:
    changed = patch.set.keys() | patch.clear
    row = store.known.row(session_id, message_id)
    row = row or await foresee(store, session_id, message_id, replaced=changed)
    full = store.known.tail(session_id).full
    tries = store.wire.tries("update_message")
    while True:
        next(tries)
        if row is not None and not changed >= BODY_FIELDS:
            [row] = await whole(store, [row])
        if row is None:
            raise MessageNotFoundError(session_id, message_id)
        after = patch.apply(message_of(row, session_id))
        write_id = new_write_id()
        edited = _edited(store, row, after, changed, write_id)
        try:
            await _replace(store, session_id, row, edited, write_id, full=full)
        except CancelledTransactionError as cancelled:
            edit, gate, *_ = cancelled.reasons
            if gate.failed:
                full = system.is_full(await opened(store, session_id, gate.item), 1)
            if edit.failed:
                row = edit.item
                if row is None or not is_message(row):
                    [row] = await locate(store, session_id, [message_id], consistent=True)
        else:
            store.known.seen(session_id, [edited.item])
            return after


def _edited(store: Store, row: Item, after: Message, changed: Set[str], write_id: str) -> Stored:
    if PARTS in row and changed.isdisjoint(BODY_FIELDS):
        return with_same_body(store, after, row, write_id)
    return stored(store, after, "update_message", own_id="ownId" in row, revision=write_id)


async def _replace(store: Store, session_id: str, row: Item, edited: Stored, write_id: str, *, full: bool) -> None:
    """Make the edit in one transaction, and remove the parts that it leaves behind."""
    item = edited.item
    pointers: list[Action] = [{"Put": {"Item": pointer_item(item)}}] if "ownId" in row else []
    left = [row] if system.is_system(row) and not system.is_system(item) else []
    came = [item] if system.is_system(item) and not system.is_system(row) else []
    listed = system.entries(store, came, actions=2 + len(pointers) + len(edited.parts), full=full)
    recount = _recount(store, session_id, [row], [item], write_id, left=left, listed=listed)
    actions = [_edit(row, item), recount, *pointers, *system.strikings(left), *listed.actions()]
    old = [] if row.get(PARTS) == item.get(PARTS) else part_keys(row)
    others = len(actions) + len(edited.parts)
    within, later = removable(old, store.options, actions=others, size=edited.size)
    await store.wire.transact([*actions, *within], write_id, first=edited.parts)
    await store.wire.delete_all(later)


def _edit(row: Item, item: Item) -> Action:
    """Change the row from what it was taken for to the new item, and leave attributes alone that are not ours."""
    expression = Expression()
    conditions = [expression.exists("id"), *_as_known(expression, row)]
    for attribute in BODY:
        if _keeps(row, item, attribute):
            conditions.append(expression.same(attribute, item[attribute]))
        else:
            expression.put(attribute, item.get(attribute))
    condition = " AND ".join(conditions)
    return {
        "Update": {
            "Key": key_of(row),
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


def _keeps(row: Item, item: Item, attribute: str) -> bool:
    """Whether an edit keeps this of the body, which it then states as a condition: a message that was made anew, with
    its session, may say something else. Texts only: not every engine compares lists."""
    return attribute in _TEXTS and attribute in row and "S" in row[attribute] and row[attribute] == item.get(attribute)


def _as_known(expression: Expression, row: Item) -> list[str]:
    return [expression.same(name, row.get(name)) for name in ("rev", "updatedAt", "tokenCount", "role", PARTS)]


def _recount(
    store: Store,
    session_id: str,
    before: Sequence[Item],
    after: Sequence[Item],
    write_id: str,
    *,
    left: Sequence[Item],
    listed: system.Entries,
) -> Action:
    """The activity item's part in an edit, and in removals, which leave nothing; `left` are no system messages any
    more. Nothing of a row's body is read, so that one that cannot be read can be removed."""
    expression = Expression()
    condition = (
        f"{expression.exists('status')} AND {expression.compare('status', '<>', text(DELETING))}"
        f" AND {store.not_expired(expression)}"
        f" AND ({expression.absent('wid')} OR {expression.compare('wid', '<>', text(write_id))})"
    )
    expression.set("wid", text(write_id))
    tokens = [sum(integer(row, "tokenCount") for row in rows) for rows in (before, after)]
    count(expression, messages=len(after) - len(before), tokens=tokens[1] - tokens[0])
    condition = " AND ".join([condition, *system.amend(expression, left, listed, write_id)])
    return {
        "Update": {
            "Key": store.activity_key(session_id),
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


async def delete(store: Store, session_id: str, message_id: str) -> bool:
    known = store.known.row(session_id, message_id)
    if known is not None and await remove(store, session_id, [known]) == 1:
        return True
    row = await foresee(store, session_id, message_id, replaced=("content", "metadata"))
    return row is not None and await remove(store, session_id, [row]) == 1


async def remove(store: Store, session_id: str, rows: Sequence[Item]) -> int:
    """Remove these rows, as many of them as still exist, and return how many that were: in one transaction, or in
    several where edits have made them need more than one takes."""
    tries = store.wire.tries("delete_message")
    for row in rows:
        store.known.forget_row(session_id, row["id"]["S"])
    groups = [list(rows)]
    removed = 0
    while groups:
        next(tries)
        group = groups.pop()
        try:
            await _remove_as_known(store, session_id, group)
        except CancelledTransactionError as cancelled:
            if cancelled.reasons[-1].failed:
                await opened(store, session_id, cancelled.reasons[-1].item)
            now = await store.wire.get_all([key_of(row) for row in group], consistent=True)
            groups += removals([row for row in now if "id" in row], store.options)
        else:
            removed += len(group)
    return removed


async def _remove_as_known(store: Store, session_id: str, rows: Sequence[Item]) -> None:
    write_id = new_write_id()
    left = [row for row in rows if system.is_system(row)]
    actions = [*map(_removal, rows), *_pointer_removals(store, session_id, rows), *system.strikings(left)]
    parts = [key for row in rows for key in part_keys(row)]
    size = sum(map(item_size, rows))
    within, later = removable(parts, store.options, actions=len(actions) + 1, size=size)
    recount = _recount(store, session_id, rows, [], write_id, left=left, listed=system.Entries())
    await store.wire.transact([*actions, *within, recount], write_id)
    await store.wire.delete_all(later)


def _pointer_removals(store: Store, session_id: str, rows: Sequence[Item]) -> list[Action]:
    sorts = keys.pointers(row["id"]["S"] for row in rows if "ownId" in row)
    return [{"Delete": {"Key": store.item_key(session_id, sort)}} for sort in sorts]


def _removal(row: Item) -> Action:
    expression = Expression()
    condition = " AND ".join([expression.exists("id"), *_as_known(expression, row)])
    return {"Delete": {"Key": key_of(row), "ConditionExpression": condition, **expression.params()}}
