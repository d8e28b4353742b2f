"""Removing a session: a tombstone first, which shuts out every other call, then all of its rows, the heads last.

Whoever meets a tombstone may finish the work: an interrupted delete by being repeated, a create of the same id by
itself. Rows are found by their partition alone, so that rows of any kind go.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from session_continuity_dynamodb import codec, keys
from session_continuity_dynamodb.codec import Activity
from session_continuity_dynamodb.errors import CancelledTransactionError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, text
from session_continuity_dynamodb.wire import Action, new_write_id

_HEADS = (keys.META, keys.ACTIVITY, keys.EXPIRY)


async def delete(store: Store, session_id: str, expired_before: datetime | None) -> bool:
    tries = store.wire.tries("delete_session")
    while True:
        next(tries)
        meta, activity = await store.heads(session_id, consistent=True)
        if meta is None and activity is None:
            await _sweep(store, session_id, spared=())
            return False
        tombstone = _tombstone(meta, activity)
        if tombstone is None:
            if expired_before is not None and not codec.is_past(_expiry(meta, activity), expired_before):
                return False
            tombstone = await _bury(store, session_id, meta, activity)
        if tombstone is not None:
            await _clear(store, session_id, meta, activity, tombstone)
            return codec.is_session(meta) or activity is not None or meta is None or codec.DELETING in meta


async def remove_remains(store: Store, session_id: str) -> None:
    """Remove what is left of a session that is expired, half deleted or without a META."""
    meta, activity = await store.heads(session_id, consistent=True)
    if not store.is_live(meta, activity):
        tombstone = _tombstone(meta, activity) or await _bury(store, session_id, meta, activity)
        if tombstone is not None:
            await _clear(store, session_id, meta, activity, tombstone)


def _tombstone(meta: Item | None, activity: Item | None) -> str | None:
    for head in (meta, activity):
        if head is not None and codec.DELETING in head:
            return codec.string(head, codec.DELETING)
    return None


def _expiry(meta: Item | None, activity: Item | None) -> datetime | None:
    if meta is not None:
        return codec.time_of(meta.get("expiresAt"))
    return None if activity is None else Activity.of(activity).expires_at


async def _bury(store: Store, session_id: str, meta: Item | None, activity: Item | None) -> str | None:
    """Turn the heads, as they were read, into tombstones. None when they have changed meanwhile."""
    store.known.forget_session(session_id)
    write_id = new_write_id()
    actions: list[Action] = []
    if activity is not None:
        expression = Expression()
        expression.set("status", text(codec.DELETING))
        actions.append(_burial(expression, activity, write_id))
    if meta is not None:
        expression = Expression()
        expression.remove("GSI1PK")
        expression.remove("GSI2PK")
        actions.append(_burial(expression, meta, write_id))
    try:
        await store.wire.transact(actions, write_id)
    except CancelledTransactionError:
        return None
    return write_id


def _burial(expression: Expression, head: Item, write_id: str) -> Action:
    expression.set(codec.DELETING, text(write_id))
    expression.set("wid", text(write_id))
    watched = ("expiresAt", "adopted", codec.DELETING)
    unchanged = " AND ".join([expression.exists("PK"), *(expression.same(name, head.get(name)) for name in watched)])
    return {
        "Update": {
            "Key": {name: head[name] for name in ("PK", "SK")},
            "UpdateExpression": expression.update(),
            "ConditionExpression": unchanged,
            **expression.params(),
        }
    }


async def _clear(store: Store, session_id: str, meta: Item | None, activity: Item | None, tombstone: str) -> None:
    """Remove everything under this tombstone; a session that was made anew meanwhile stays."""
    await _sweep(store, session_id, spared=_HEADS)
    actions: list[Action] = []
    for head in (activity, meta):
        if head is not None:
            expression = Expression()
            condition = expression.compare(codec.DELETING, "=", text(tombstone))
            key = {name: head[name] for name in ("PK", "SK")}
            actions.append({"Delete": {"Key": key, "ConditionExpression": condition, **expression.params()}})
    actions.insert(1, {"Delete": {"Key": store.item_key(session_id, keys.EXPIRY)}})
    try:
        await store.wire.transact(actions, new_write_id())
    except CancelledTransactionError:
        # Somebody else has finished this delete.
        return


async def _sweep(store: Store, session_id: str, *, spared: tuple[str, ...]) -> None:
    """Delete every row of the partition but the spared ones."""
    expression = Expression()
    wanted = f"{expression.name('PK')}, {expression.name('SK')}"
    condition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    params: dict[str, Any] = {
        "KeyConditionExpression": condition,
        "ProjectionExpression": wanted,
        "ConsistentRead": True,
        **expression.params(),
    }
    while True:
        rows, following = await store.wire.query(params)
        await store.wire.delete_all(row for row in rows if row["SK"]["S"] not in spared)
        if following is None:
            return
        params["ExclusiveStartKey"] = following
