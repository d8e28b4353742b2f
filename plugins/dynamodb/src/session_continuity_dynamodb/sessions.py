"""Sessions one at a time: create, read, change; and the first activity item of a session that another writer made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from session_continuity import (
    ConcurrencyError,
    Patch,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    is_repeated_create,
)
from session_continuity_dynamodb import codec, keys
from session_continuity_dynamodb.activity import DELETING, UNLIMITED, Activity, hard_limit, is_gone
from session_continuity_dynamodb.bodies import is_message
from session_continuity_dynamodb.errors import CancelledTransactionError, ConditionFailedError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.removal import remove_remains
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.system import activity_of
from session_continuity_dynamodb.values import Item, flag, integer, number, seconds, string, text
from session_continuity_dynamodb.wire import Action, new_write_id

_GATE_FIELDS = frozenset({"status", "expires_at", "token_budget"})
"""What an append checks: a change of these goes to the activity item in the same transaction."""


async def create(store: Store, session: Session) -> Session:
    tries = store.wire.tries("create_session")
    while True:
        next(tries)
        try:
            await store.wire.transact(_creation(store, session), new_write_id())
        except CancelledTransactionError:
            meta, activity = await store.heads(session.id, consistent=True)
            if meta is None or not store.is_live(meta, activity):
                await remove_remains(store, session.id)
            elif (existing := await _live(store, meta, activity)) is not None:
                if is_repeated_create(existing, session):
                    return existing
                raise SessionExistsError(session.id) from None
        else:
            store.known.forget_session(session.id)
            return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})


def _creation(store: Store, session: Session) -> list[Action]:
    items = [Activity.new(session).item(store.keys, session.id), codec.meta_item(store.keys, session)]
    actions: list[Action] = []
    for item in items:
        expression = Expression()
        actions.append({"Put": {"Item": item, "ConditionExpression": expression.absent("PK"), **expression.params()}})
    if session.expires_at is not None:
        actions.append({"Put": {"Item": codec.marker_item(store.keys, session.id, session.expires_at)}})
    return actions


async def get(store: Store, session_id: str) -> Session | None:
    meta, activity = await store.heads(session_id)
    if meta is None or not store.is_live(meta, activity):
        return None
    return await _live(store, meta, activity)


async def _live(store: Store, meta: Item, activity: Item | None) -> Session | None:
    """The session of these heads, None where it went while it was being read."""
    try:
        return await _session(store, meta, activity)
    except SessionNotFoundError:
        return None


async def _session(store: Store, meta: Item, activity: Item | None) -> Session:
    return codec.session_of(meta, await totals(store, meta, activity))


async def totals(store: Store, meta: Item, activity: Item | None) -> Activity:
    """A session's totals; those of one without an activity item are counted from its messages. Raises
    SessionNotFoundError for one that is gone by then."""
    return await _counted(store, meta) if activity is None else await activity_of(store, activity)


async def update(store: Store, session_id: str, patch: Patch, expected: int | None) -> Session:
    fields = Session.model_fields
    cleared = {name: fields[name].get_default(call_default_factory=True) for name in patch.clear}
    changed = {**cleared, **patch.set}
    if _GATE_FIELDS.isdisjoint(changed):
        updated = await _update_unread(store, session_id, changed, expected)
        if updated is not None:
            return updated
    return await _update_read(store, session_id, patch, changed, expected)


async def _update_unread(
    store: Store, session_id: str, changed: Mapping[str, Any], expected: int | None
) -> Session | None:
    """The change in one write of META, with the totals read at the same time. None where META does not allow that
    without being read, because another writer left its expiry as text."""
    write_id = new_write_id()
    expression = Expression()
    for attribute, value in codec.session_changes(store.keys, None, changed).items():
        expression.put(attribute, value)
    expression.set("wid", text(write_id))
    condition = (
        f"{_is_there(expression)} AND {store.not_expired(expression)}"
        f" AND {_version_step(expression, expected, write_id)}"
    )
    change = {
        "Key": store.meta_key(session_id),
        "UpdateExpression": expression.update(),
        "ConditionExpression": condition,
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **expression.params(),
    }
    try:
        answer, activity = await store.wire.both(
            partial(store.wire.request, "UpdateItem", change),
            partial(store.wire.get, store.activity_key(session_id), consistent=True),
        )
    except ConditionFailedError as failed:
        found = failed.item or await store.wire.get(store.meta_key(session_id), consistent=True)
        if found is None or not store.is_live(found, None):
            raise SessionNotFoundError(session_id) from None
        if "S" in found.get("expiresAt", {}):
            return None
        if string(found, "wid") != write_id:
            raise await _conflict(store, found, expected) from None
        return await _after(store, found)
    return await _session(store, answer["Attributes"], activity)


def _is_there(expression: Expression) -> str:
    return f"{expression.exists('id')} AND {expression.absent(DELETING)}"


def _unchanged(expression: Expression, meta: Item) -> str:
    """The condition that META is as it was read, in what decides whether the session is there."""
    return " AND ".join(
        [_is_there(expression), *(expression.same(name, meta.get(name)) for name in ("version", "expiresAt"))]
    )


def _version_step(expression: Expression, expected: int | None, write_id: str) -> str:
    """The condition under which this very change has not been made, and the step that makes it one version later."""
    if expected is None:
        expression.increment("version", number(1), start=number(1))
        return f"({expression.absent('wid')} OR {expression.compare('wid', '<>', text(write_id))})"
    expression.set("version", number(expected + 1))
    condition = expression.compare("version", "=", number(expected))
    return f"({condition} OR {expression.absent('version')})" if expected == 1 else condition


async def _after(store: Store, meta: Item) -> Session:
    activity = await store.wire.get(store.activity_key(meta["id"]["S"]), consistent=True)
    return await _session(store, meta, activity)


async def _conflict(store: Store, meta: Item, expected: int | None) -> ConcurrencyError:
    current = await _after(store, meta)
    return ConcurrencyError(current.id, expected=expected, actual=current.version, current=current)


async def _update_read(
    store: Store, session_id: str, patch: Patch, changed: Mapping[str, Any], expected: int | None
) -> Session:
    tries = store.wire.tries("update_session")
    while True:
        next(tries)
        meta, activity = await store.heads(session_id, consistent=True)
        if meta is None or not store.is_live(meta, activity):
            raise SessionNotFoundError(session_id)
        current = await _session(store, meta, activity)
        if expected is not None and current.version != expected:
            raise ConcurrencyError(session_id, expected=expected, actual=current.version, current=current)
        after = patch.apply(current).model_copy(update={"version": current.version + 1})
        write_id = new_write_id()
        actions = [_meta_change(store, meta, after, changed, write_id, adopted=activity is not None)]
        if activity is not None:
            actions.append(_gate_change(store, meta, Activity.of(activity), after, write_id))
        actions += _marker_change(store, current, after)
        try:
            await store.wire.transact(actions, write_id)
        except CancelledTransactionError:
            continue
        return after


def _meta_change(
    store: Store, meta: Item, after: Session, changed: Mapping[str, Any], write_id: str, *, adopted: bool
) -> Action:
    expression = Expression()
    for attribute, value in codec.session_changes(store.keys, after, changed).items():
        expression.put(attribute, value)
    expression.set("version", number(after.version))
    expression.set("wid", text(write_id))
    condition = _unchanged(expression, meta)
    if not adopted:
        condition += f" AND {expression.absent('adopted')}"
    return _update_action(store.meta_key(after.id), expression, condition)


def _gate_change(store: Store, meta: Item, activity: Activity, after: Session, write_id: str) -> Action:
    expression = Expression()
    expression.set("wid", text(write_id))
    expression.set("status", text(after.status))
    expression.put("expiresAt", None if after.expires_at is None else seconds(after.expires_at))
    limit = hard_limit(after.token_budget)
    if limit is None:
        expression.set("tokensLeft", number(UNLIMITED))
        expression.remove("tokenLimit")
    else:
        counted_elsewhere = integer(meta, "tokenCount") - activity.base_tokens
        expression.set_difference("tokensLeft", number(limit - counted_elsewhere), "tokenCount")
        expression.set("tokenLimit", number(limit))
    condition = expression.compare("status", "=", text(activity.status))
    return _update_action(store.activity_key(after.id), expression, condition)


def _update_action(key: Item, expression: Expression, condition: str) -> Action:
    return {
        "Update": {
            "Key": key,
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


def _marker_change(store: Store, before: Session, after: Session) -> list[Action]:
    if after.expires_at is None:
        key = store.item_key(after.id, keys.EXPIRY)
        return [] if before.expires_at is None else [{"Delete": {"Key": key}}]
    if before.expires_at is not None and keys.hour(before.expires_at) == keys.hour(after.expires_at):
        return []
    return [{"Put": {"Item": codec.marker_item(store.keys, after.id, after.expires_at)}}]


async def adopt(store: Store, session_id: str) -> Activity:
    """Give a session of another writer its activity item, and return what it tells. Raises SessionNotFoundError where
    there is no session."""
    tries = store.wire.tries("adopt")
    while True:
        next(tries)
        meta, activity = await store.heads(session_id, consistent=True)
        if meta is None or not store.is_live(meta, activity):
            raise SessionNotFoundError(session_id)
        if activity is not None:
            return Activity.of(activity)
        counted = await _counted(store, meta)
        marked = Expression()
        marked.set("adopted", flag())
        condition = _unchanged(marked, meta)
        fresh = Expression()
        item = counted.item(store.keys, session_id)
        actions: list[Action] = [
            _update_action(store.meta_key(session_id), marked, condition),
            {"Put": {"Item": item, "ConditionExpression": fresh.absent("PK"), **fresh.params()}},
        ]
        if counted.expires_at is not None:
            actions.append({"Put": {"Item": codec.marker_item(store.keys, session_id, counted.expires_at)}})
        try:
            await store.wire.transact(actions, new_write_id())
        except CancelledTransactionError:
            continue
        return counted


async def opened(store: Store, session_id: str, gate: Item | None) -> Activity:
    """After a condition on the activity item failed: what it tells, or would; `gate` is the item where the engine told
    it, and one that is missing is made. Raises SessionNotFoundError."""
    gate = gate or await store.wire.get(store.activity_key(session_id), consistent=True)
    if gate is None:
        return await adopt(store, session_id)
    if is_gone(gate, store.now()):
        raise SessionNotFoundError(session_id)
    return Activity.of(gate)


async def _counted(store: Store, meta: Item) -> Activity:
    """The activity item that a session would have, from a reading of its messages."""
    session = codec.session_of(meta, None)
    messages = tokens = 0
    last = keys.NO_MESSAGE
    system: list[str] = []
    foreign = False
    async for row in _rows(store, session.id):
        messages += 1
        tokens += integer(row, "tokenCount")
        last = keys.place_of(row)
        foreign = foreign or keys.computed_place(row["id"]["S"]) != last
        if row["role"]["S"] == "system":
            system.append(last)
    limit = hard_limit(session.token_budget)
    return Activity(
        status=session.status,
        expires_at=session.expires_at,
        last_place=last,
        last_activity_at=None if last == keys.NO_MESSAGE else last[:24],
        messages=messages,
        tokens=tokens,
        tokens_left=UNLIMITED if limit is None else limit - tokens,
        token_limit=limit,
        system_places=tuple(system),
        base_messages=integer(meta, "messageCount"),
        base_tokens=integer(meta, "tokenCount"),
        foreign=foreign,
    )


async def _rows(store: Store, session_id: str) -> AsyncIterator[Item]:
    expression = Expression()
    wanted = ", ".join(map(expression.name, ("SK", "id", "role", "tokenCount", "createdAt")))
    partition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    within = expression.between("SK", text(keys.MESSAGE), text(keys.AFTER_MESSAGES))
    params: dict[str, Any] = {
        "KeyConditionExpression": f"{partition} AND {within}",
        "ProjectionExpression": wanted,
        "ConsistentRead": True,
        **expression.params(),
    }
    while True:
        rows, following = await store.wire.query(params)
        for row in rows:
            if is_message(row):
                yield row
        if following is None:
            return
        params["ExclusiveStartKey"] = following
