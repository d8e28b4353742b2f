"""Writing messages: every write is one transaction of the messages and the activity item, which holds the totals.

Nothing is read first. What a write takes for granted (the last place, a message's tokens) is a condition; when it
does not hold, the failed request brings back what is there, and the write is made anew from that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from session_continuity import (
    Appended,
    Message,
    MessageNotFoundError,
    Patch,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    check_turn,
    is_repeated_append,
    move_to,
)
from session_continuity_dynamodb import keys, system
from session_continuity_dynamodb.activity import DELETING, OPEN_STATUSES, Activity, is_gone
from session_continuity_dynamodb.bodies import BODY, BODY_FIELDS, PARTS, is_message, message_of, pointer_item
from session_continuity_dynamodb.errors import CancelledTransactionError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.lookup import foresee, locate
from session_continuity_dynamodb.parts import (
    Stored,
    check_turn_fits,
    part_keys,
    removable,
    removals,
    stored,
    whole,
    with_same_body,
)
from session_continuity_dynamodb.sessions import adopt
from session_continuity_dynamodb.store import Store, Tail
from session_continuity_dynamodb.values import Item, integer, item_size, number, text
from session_continuity_dynamodb.wire import Action, new_write_id

_MILLISECOND = timedelta(milliseconds=1)
_TEXTS = frozenset({"content", "metadata", "blocks"})


async def append(store: Store, session_id: str, messages: Sequence[Message], chosen_ids: Collection[str]) -> Appended:
    check_turn(messages)
    chosen = frozenset(chosen_ids)
    repeats = any(store.known.row(session_id, message.id) for message in messages)
    tail = store.known.tail(session_id)
    last = keys.NO_MESSAGE if repeats else tail.last_place
    turn = in_order(messages, last, chosen)
    tries = store.wire.tries("append_messages")
    while True:
        next(tries)
        write = _append(store, session_id, turn, last, chosen, full=tail.full)
        try:
            await store.wire.transact(write.actions, write.id, first=write.parts)
        except CancelledTransactionError as cancelled:
            before = await _stored_before(store, session_id, messages, turn, cancelled, write.pointers)
            if before is not None:
                return Appended(messages=before, repeated=True)
            gate = cancelled.reasons[len(write.pointers)]
            if gate.failed:
                tail = await _tail(store, session_id, gate.item, turn)
                if tail.last_place < last:  # the session was made anew: nothing that was known of it holds
                    store.known.forget_session(session_id)
                last = tail.last_place
                turn = in_order(messages, last, chosen)
        else:
            store.known.appended(session_id, write.items, replace(tail, last_place=keys.place_of(write.items[-1])))
            return Appended(messages=turn)


def in_order(messages: Sequence[Message], last: str, chosen: frozenset[str]) -> tuple[Message, ...]:
    """The turn at places that rise from `last` on; messages that would not are moved to the next millisecond."""
    if _place(messages[0]) <= last:
        messages = move_to(keys.place_time(last) + _MILLISECOND, messages, chosen_ids=chosen)
    placed: list[Message] = []
    for message in messages:
        place = _place(message)
        if place <= last:
            [message] = move_to(keys.place_time(last) + _MILLISECOND, [message], chosen_ids=chosen)
            place = _place(message)
        placed.append(message)
        last = place
    return tuple(placed)


def _place(message: Message) -> str:
    return keys.place(message.created_at, message.id)


@dataclass(frozen=True, slots=True)
class _Append:
    """A turn as one transaction: the pointers, the activity item behind them, then the messages."""

    id: str
    actions: list[Action]
    pointers: list[Item]
    items: list[Item]
    parts: list[Item]


def _append(
    store: Store, session_id: str, turn: Sequence[Message], last: str, chosen: frozenset[str], *, full: bool
) -> _Append:
    """Raises MessageTooLargeError."""
    placed = [stored(store, message, "append_messages", own_id=message.id in chosen) for message in turn]
    items = [message.item for message in placed]
    parts = [part for message in placed for part in message.parts]
    pointers = [pointer_item(item) for item in items if "ownId" in item]
    check_turn_fits(placed, len(pointers), store.options)
    listed = system.entries(store, items, actions=len(pointers) + 1 + len(items) + len(parts), full=full)
    write_id = new_write_id()
    advance = _advance(store, session_id, items, last, listed, write_id)
    actions = [*map(_new, pointers), advance, *map(_new, items), *listed.actions()]
    return _Append(write_id, actions, pointers, items, parts)


def _new(item: Item) -> Action:
    expression = Expression()
    return {"Put": {"Item": item, "ConditionExpression": expression.absent("PK"), **expression.params()}}


def _advance(
    store: Store, session_id: str, items: Sequence[Item], last: str, listed: system.Entries, write_id: str
) -> Action:
    """The activity item's part in an append: the gate as condition, the totals as change. `last` is a place that the
    session has reached, as far as is known."""
    expression = Expression()
    tokens = _tokens(items)
    condition = " AND ".join(
        [
            expression.any_of("status", [text(status) for status in OPEN_STATUSES]),
            store.not_expired(expression),
            expression.compare("lastKey", ">=", text(last)),
            expression.compare("lastKey", "<", text(keys.place_of(items[0]))),
            expression.compare("tokensLeft", ">=", number(tokens)),
            *listed.state(expression, write_id),
        ]
    )
    expression.set("lastKey", text(keys.place_of(items[-1])))
    expression.set("lastActivityAt", items[-1]["createdAt"])
    expression.set("wid", text(write_id))
    _count(expression, messages=len(items), tokens=tokens)
    return {
        "Update": {
            "Key": store.activity_key(session_id),
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


def _tokens(items: Sequence[Item]) -> int:
    return sum(integer(item, "tokenCount") for item in items)


def _count(expression: Expression, *, messages: int, tokens: int) -> None:
    if messages:
        expression.add("messageCount", number(messages))
    if tokens:
        expression.add("tokenCount", number(tokens))
        expression.add("tokensLeft", number(-tokens))


async def _stored_before(
    store: Store,
    session_id: str,
    sent: Sequence[Message],
    turn: Sequence[Message],
    cancelled: CancelledTransactionError,
    pointers: Sequence[Item],
) -> tuple[Message, ...] | None:
    """The turn as it was stored before, when this append is being repeated."""
    taken = [reason for place, reason in enumerate(cancelled.reasons) if place != len(pointers) and reason.failed]
    # A transaction tells of each message whether it is there; one write after the other ends at the gate.
    if not taken and not pointers and store.wire.atomic:
        return None
    wanted = sent if pointers else turn
    rows = await whole(store, await locate(store, session_id, [message.id for message in wanted], consistent=True))
    found = [message_of(row, session_id) if row else None for row in rows]
    if not is_repeated_append(found, wanted):
        led = [pointer for pointer, reason in zip(pointers, cancelled.reasons, strict=False) if reason.failed]
        await _drop_dangling(store, led)
        return None
    return tuple(message for message in found if message is not None)


async def _drop_dangling(store: Store, pointers: Sequence[Item]) -> None:
    """Remove what stands in the way of these pointers and leads to nothing: another writer that removes a message
    leaves it, and a serial append whose process dies."""
    dangling = await store.wire.get_all([_key(pointer) for pointer in pointers], consistent=True)
    if not store.wire.atomic:
        await store.wire.delete_all(map(_key, dangling))
    elif dangling:
        with suppress(CancelledTransactionError):  # one of them leads somewhere now: the append sees where
            await store.wire.transact([action for item in dangling for action in _drop(item)], new_write_id())


def _drop(pointer: Item) -> list[Action]:
    """The removal of a pointer, on the condition that it leads to nothing."""
    message, same = Expression(), Expression()
    key = {"PK": pointer["PK"], "SK": text(keys.MESSAGE + pointer["ref"]["S"])}
    gone = {"Key": key, "ConditionExpression": message.absent("id"), **message.params()}
    led = {"Key": _key(pointer), "ConditionExpression": same.same("ref", pointer["ref"]), **same.params()}
    return [{"ConditionCheck": gone}, {"Delete": led}]


async def _tail(store: Store, session_id: str, gate: Item | None, turn: Sequence[Message]) -> Tail:
    """Why the gate was shut: raises what the contract says, or returns how the session ends, by which to try again."""
    activity = await _activity(store, session_id, gate)
    if activity.status not in OPEN_STATUSES:
        raise SessionClosedError(session_id, activity.status)
    tokens = sum(message.token_count or 0 for message in turn)
    if activity.tokens_left < tokens and activity.token_limit is not None:
        raise TokenBudgetExceededError(
            session_id, requested=tokens, limit=activity.token_limit, used=activity.token_limit - activity.tokens_left
        )
    added = sum(message.role == "system" for message in turn)
    return Tail(activity.last_place, full=system.is_full(activity, added))


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
                full = system.is_full(await _activity(store, session_id, gate.item), 1)
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
    count = len(actions) + len(edited.parts)
    within, later = removable(old, store.options, actions=count, size=edited.size)
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
            "Key": {name: row[name] for name in ("PK", "SK")},
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
    _count(expression, messages=len(after) - len(before), tokens=_tokens(after) - _tokens(before))
    condition = " AND ".join([condition, *system.amend(expression, left, listed, write_id)])
    return {
        "Update": {
            "Key": store.activity_key(session_id),
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


async def _activity(store: Store, session_id: str, gate: Item | None) -> Activity:
    """After a condition on the activity item failed: what it tells, or would; `gate` is the item where the engine told
    it, and one that is missing is made. Raises SessionNotFoundError."""
    gate = gate or await store.wire.get(store.activity_key(session_id), consistent=True)
    if gate is None:
        return await adopt(store, session_id)
    if is_gone(gate, store.now()):
        raise SessionNotFoundError(session_id)
    return Activity.of(gate)


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
                await _activity(store, session_id, cancelled.reasons[-1].item)
            now = await store.wire.get_all([_key(row) for row in group], consistent=True)
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
    return {"Delete": {"Key": _key(row), "ConditionExpression": condition, **expression.params()}}


def _key(row: Item) -> Item:
    return {name: row[name] for name in ("PK", "SK")}
