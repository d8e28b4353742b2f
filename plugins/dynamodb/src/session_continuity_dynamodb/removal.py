"""Removing a session: a tombstone first, which shuts out every other call, then all of its rows, the heads last.

Whoever meets a tombstone may finish the work: an interrupted delete by being repeated, a create of the same id by
itself. Rows are found by their partition alone, so that rows of any kind go. A delete that is overtaken in this way
does not harm a session that was made anew: it removes what it saw while its own tombstone stood, and a key that may
come again, because its caller chose the id, only under the condition that the tombstone still stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from session_continuity_dynamodb import keys
from session_continuity_dynamodb.activity import DELETING, is_past
from session_continuity_dynamodb.bodies import PARTS
from session_continuity_dynamodb.errors import CancelledTransactionError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.parts import part_keys
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, by_sort_key, key_of, string, text, time_of
from session_continuity_dynamodb.wire import Action, new_write_id

_HEADS = (keys.META, keys.ACTIVITY, keys.EXPIRY)


async def delete(store: Store, session_id: str, expired_before: datetime | None) -> bool:
    tries = store.wire.tries("delete_session")
    while True:
        next(tries)
        meta, activity = await store.heads(session_id, consistent=True)
        head = meta or activity
        if head is None and not await _has_rows(store, session_id):
            return False
        tombstone = _tombstone(activity)
        if tombstone is None:
            if head is not None and expired_before is not None and not _is_past(head, expired_before):
                return False
            tombstone = await _bury(store, session_id, meta, activity)
        if tombstone is not None:
            await _clear(store, session_id, tombstone)
            return activity is not None or (meta is not None and "id" in meta)


async def remove_remains(store: Store, session_id: str) -> None:
    """Remove what is left of a session that is expired, half deleted or without a META."""
    meta, activity = await store.heads(session_id, consistent=True)
    if (meta or activity) and not store.is_live(meta, activity):
        tombstone = _tombstone(activity) or await _bury(store, session_id, meta, activity)
        if tombstone is not None:
            await _clear(store, session_id, tombstone)


def _tombstone(activity: Item | None) -> str | None:
    return None if activity is None else string(activity, DELETING)


def _is_past(head: Item, moment: datetime) -> bool:
    return is_past(time_of(head.get("expiresAt")), moment)


async def _bury(store: Store, session_id: str, meta: Item | None, activity: Item | None) -> str | None:
    """Make the activity item the tombstone, and take META out of the indexes and from the service's own expiry. None
    when they are not as they were read any more."""
    store.known.forget_session(session_id)
    write_id = new_write_id()
    expression = Expression()
    expression.set("status", text(DELETING))
    actions = [_burial(store.activity_key(session_id), expression, activity, write_id)]
    if meta is not None:
        expression = Expression()
        for attribute in ("GSI1PK", "GSI2PK", "ttl"):
            expression.remove(attribute)
        actions.append(_burial(store.meta_key(session_id), expression, meta, write_id))
    try:
        await store.wire.transact(actions, write_id)
    except CancelledTransactionError:
        return None
    return write_id


def _burial(key: Item, expression: Expression, head: Item | None, write_id: str) -> Action:
    expression.set(DELETING, text(write_id))
    expression.set("wid", text(write_id))
    if head is None:
        condition = expression.absent("PK")
    else:
        watched = ("expiresAt", "adopted", DELETING)
        condition = " AND ".join(
            [expression.exists("PK"), *(expression.same(name, head.get(name)) for name in watched)]
        )
    return {
        "Update": {
            "Key": key,
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


async def _clear(store: Store, session_id: str, tombstone: str) -> None:
    """Remove everything under this tombstone, unless somebody else has done so."""
    if not await _sweep(store, session_id, tombstone):
        return
    others = [store.meta_key(session_id), store.item_key(session_id, keys.EXPIRY)]
    actions: list[Action] = [
        {"Delete": _while_it_stands(store, session_id, tombstone)},
        *({"Delete": {"Key": key}} for key in others),
    ]
    try:
        await store.wire.transact(actions, new_write_id())
    except CancelledTransactionError:
        return


def _while_it_stands(store: Store, session_id: str, tombstone: str) -> dict[str, Any]:
    """An action on the activity item under the condition that it is this tombstone."""
    expression = Expression()
    condition = expression.compare(DELETING, "=", text(tombstone))
    return {"Key": store.activity_key(session_id), "ConditionExpression": condition, **expression.params()}


async def _sweep(store: Store, session_id: str, tombstone: str) -> bool:
    """Delete every row of the partition but the heads. False when the tombstone fell meanwhile.

    Lists twice: at half the price first, then strongly, which finds nothing as a rule and costs next to nothing then.
    """
    for consistent in (False, True):
        params = {**_all_rows(store, session_id), "ConsistentRead": consistent}
        while True:
            rows, following = await store.wire.query(params)
            if not await _remove_listed(store, session_id, tombstone, rows):
                return False
            if following is None:
                break
            params["ExclusiveStartKey"] = following
    return True


async def _remove_listed(store: Store, session_id: str, tombstone: str, rows: Sequence[Item]) -> bool:
    doomed = [row for row in rows if row["SK"]["S"] not in _HEADS]
    if not doomed:
        return True
    stands = _tombstone(await store.wire.get(store.activity_key(session_id), consistent=True)) == tombstone
    return stands and await _remove(store, session_id, tombstone, [*doomed, *_named_parts(doomed)])


def _named_parts(rows: Sequence[Item]) -> list[Item]:
    """The parts that lie on later pages. Removed with the messages that name them, they need not be listed, which takes
    a page for every two or three."""
    named = by_sort_key(key for row in rows for key in part_keys(row))  # a pointer names those of its message again
    return [named[sort] for sort in named.keys() - by_sort_key(rows).keys()]


async def _remove(store: Store, session_id: str, tombstone: str, rows: Sequence[Item]) -> bool:
    plain: list[Item] = []
    guarded: list[Item] = []
    for row in rows:
        (guarded if store.wire.atomic and _may_come_again(row) else plain).append(key_of(row))
    await store.wire.delete_all(plain)
    size = store.options.transaction_items - 1
    for start in range(0, len(guarded), size):
        stands: Action = {"ConditionCheck": _while_it_stands(store, session_id, tombstone)}
        deletes: list[Action] = [{"Delete": {"Key": key}} for key in guarded[start : start + size]]
        try:
            await store.wire.transact([stands, *deletes], new_write_id())
        except CancelledTransactionError:
            return False
    return True


def _may_come_again(row: Item) -> bool:
    return "ownId" in row or row["SK"]["S"].startswith(keys.POINTER)


async def _has_rows(store: Store, session_id: str) -> bool:
    rows, _ = await store.wire.query({**_all_rows(store, session_id), "ConsistentRead": True}, limit=1)
    return bool(rows)


def _all_rows(store: Store, session_id: str) -> dict[str, Any]:
    expression = Expression()
    wanted = ", ".join(map(expression.name, ("PK", "SK", "ownId", PARTS)))
    condition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    return {
        "KeyConditionExpression": condition,
        "ProjectionExpression": wanted,
        **expression.params(),
    }
