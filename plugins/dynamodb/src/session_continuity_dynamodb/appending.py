"""Appends: each is one transaction of the messages and the activity item, which holds order, totals and gate.

Nothing is read first. What an append takes for granted, the last place, is a condition; when it does not hold, the
failed request brings back what is there, and the append is made anew from that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from session_continuity import (
    Appended,
    Message,
    SessionClosedError,
    TokenBudgetExceededError,
    check_turn,
    is_repeated_append,
    move_to,
)
from session_continuity_dynamodb import keys, system
from session_continuity_dynamodb.activity import OPEN_STATUSES, count
from session_continuity_dynamodb.bodies import message_of, pointer_item
from session_continuity_dynamodb.errors import CancelledTransactionError
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.lookup import locate
from session_continuity_dynamodb.parts import check_turn_fits, stored, whole
from session_continuity_dynamodb.sessions import opened
from session_continuity_dynamodb.store import Store, Tail
from session_continuity_dynamodb.values import Item, integer, key_of, number, text
from session_continuity_dynamodb.wire import Action, new_write_id

_MILLISECOND = timedelta(milliseconds=1)


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
    tokens = sum(integer(item, "tokenCount") for item in items)
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
    count(expression, messages=len(items), tokens=tokens)
    return {
        "Update": {
            "Key": store.activity_key(session_id),
            "UpdateExpression": expression.update(),
            "ConditionExpression": condition,
            **expression.params(),
        }
    }


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
    dangling = await store.wire.get_all([key_of(pointer) for pointer in pointers], consistent=True)
    if not store.wire.atomic:
        await store.wire.delete_all(map(key_of, dangling))
    elif dangling:
        with suppress(CancelledTransactionError):  # one of them leads somewhere now: the append sees where
            await store.wire.transact([action for item in dangling for action in _drop(item)], new_write_id())


def _drop(pointer: Item) -> list[Action]:
    """The removal of a pointer, on the condition that it leads to nothing."""
    message, same = Expression(), Expression()
    key = {"PK": pointer["PK"], "SK": text(keys.MESSAGE + pointer["ref"]["S"])}
    gone = {"Key": key, "ConditionExpression": message.absent("id"), **message.params()}
    led = {"Key": key_of(pointer), "ConditionExpression": same.same("ref", pointer["ref"]), **same.params()}
    return [{"ConditionCheck": gone}, {"Delete": led}]


async def _tail(store: Store, session_id: str, gate: Item | None, turn: Sequence[Message]) -> Tail:
    """Why the gate was shut: raises what the contract says, or returns how the session ends, by which to try again."""
    activity = await opened(store, session_id, gate)
    if activity.status not in OPEN_STATUSES:
        raise SessionClosedError(session_id, activity.status)
    tokens = sum(message.token_count or 0 for message in turn)
    if activity.tokens_left < tokens and activity.token_limit is not None:
        raise TokenBudgetExceededError(
            session_id, requested=tokens, limit=activity.token_limit, used=activity.token_limit - activity.tokens_left
        )
    added = sum(message.role == "system" for message in turn)
    return Tail(activity.last_place, full=system.is_full(activity, added))
