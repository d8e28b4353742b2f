"""Sessions one at a time: creating, reading and changing them."""

from __future__ import annotations

from collections.abc import Set

from session_continuity import (
    ConcurrencyError,
    Patch,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    is_repeated_create,
    minted_at,
)
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.session_codec import session_changes
from session_continuity_dynamodb.items.values import Item, time_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import move_marker, set_gate
from session_continuity_dynamodb.operations.session_counters import load_session, unchanged
from session_continuity_dynamodb.operations.session_creation import creation_actions
from session_continuity_dynamodb.operations.session_heads import is_live, read_heads
from session_continuity_dynamodb.operations.session_removal import remove_late_rows, remove_remains
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.transactions import Action, transact, update

_CHECKED_FIELDS = frozenset({"status", "expires_at", "token_budget", "sliding_ttl"})
"""What an append checks, and the counters have."""

_EXACT_ATTEMPTS = 3
"""Attempts at an update that any append meanwhile makes fail. Further ones return totals that may be a moment old, so
that a session that is written all the time can be updated."""


async def create_session(context: TableContext, session: Session) -> Session:
    """Store a new session, see the contract."""
    if context.options.beside_kit and minted_at(session.id) != session.created_at:
        await remove_late_rows(context, session.id)
    write_id = keys.new_write_id()
    async for _ in context.sender.attempts():
        actions = creation_actions(context, session, Counters.new(session), write_id)
        try:
            await transact(context.sender, actions, write_id)
        except CancelledTransactionError:
            meta, counters = await read_heads(context, session.id, consistent=True)
            if meta is None or not is_live(context, meta, counters):
                await remove_remains(context, session.id)
            elif (existing := await _load_if_live(context, meta, counters)) is not None:
                if is_repeated_create(existing, session):
                    return existing
                raise SessionExistsError(session.id) from None
        else:
            context.hints.forget_last_row(session.id)
            context.hints.remember_slides(session.id, slides=session.sliding_ttl is not None)
            return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})
    raise contention()


async def get_session(context: TableContext, session_id: str) -> Session | None:
    """The session with its totals, or None."""
    meta, counters = await read_heads(context, session_id)
    if meta is None or not is_live(context, meta, counters):
        return None
    return await _load_if_live(context, meta, counters)


async def _load_if_live(context: TableContext, meta: Item, counters: Item | None) -> Session | None:
    """The session with these heads, or None if it was deleted while it was being read."""
    try:
        return (await load_session(context, meta, counters)).session
    except SessionNotFoundError:
        return None


async def update_session(context: TableContext, session_id: str, patch: Patch, expected: int | None) -> Session:
    """Change a session, see the contract. `expected` is the version that it must have, if any.

    META is read, and changed together with the counters on the condition that both are as read. So the session that is
    returned is one that existed, and a request that the SDK sends again never overwrites what others wrote meanwhile.
    """
    changed = patch.set.keys() | patch.clear
    async for attempt in context.sender.attempts():
        meta, counters = await read_heads(context, session_id, consistent=True)
        if meta is None or not is_live(context, meta, counters):
            raise SessionNotFoundError(session_id)
        current = (await load_session(context, meta, counters)).session
        if expected is not None and current.version != expected:
            raise ConcurrencyError(session_id, expected=expected, actual=current.version, current=current)
        after = patch.apply(current).model_copy(update={"version": current.version + 1})
        write_id = keys.new_write_id()
        has_gate = counters is not None and (context.sender.atomic or not _CHECKED_FIELDS.isdisjoint(changed))
        actions = [
            _change_meta(context, meta, after, changed, write_id, is_adopted=counters is not None, sets_gate=has_gate)
        ]
        if counters is not None and has_gate:
            is_patient = attempt <= _EXACT_ATTEMPTS and context.sender.atomic
            actions.append(set_gate(context, meta, counters, after, write_id, is_exact=is_patient))
        marked = current.expires_at if counters is None else time_of(counters.get(names.EXPIRES_AT))
        actions += move_marker(context, marked, after)
        try:
            await transact(context.sender, actions, write_id)
        except CancelledTransactionError:
            continue
        return after
    raise contention()


def _change_meta(
    context: TableContext,
    meta: Item,
    after: Session,
    changed: Set[str],
    write_id: str,
    *,
    is_adopted: bool,
    sets_gate: bool,
) -> Action:
    change = Update()
    if sets_gate:
        change.set(names.HEADS_REVISION, write_id)
    fields = {name: getattr(after, name) for name in changed}
    for attribute, value in session_changes(context.keys, after, fields).items():
        change.set(attribute, value)
    change.set(names.VERSION, after.version)
    change.set(names.WRITE_ID, write_id)
    change.where(*unchanged(change, meta))
    if not is_adopted:
        # Counters that somebody creates meanwhile would keep the old status, expiry and limit.
        change.where(change.absent(names.ADOPTED))
    return update(context.keys.meta(after.id), change)
