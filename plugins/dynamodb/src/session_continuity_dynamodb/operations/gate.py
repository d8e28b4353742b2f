"""The gate of a session: what its counters know of META, so that an append need not read META: status, expiry, limit.

Writers here change both in one transaction. The TypeScript kit changes META alone. With `beside_kit` an append is also
conditional on META being as it was when the gate was last set from it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from session_continuity import Session, SessionNotFoundError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import UNLIMITED, Counters, hard_limit
from session_continuity_dynamodb.items.session_codec import marker_item, session_changes, session_of
from session_continuity_dynamodb.items.values import YES, Item, integer, seconds, time_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.kit_messages import take_in_messages
from session_continuity_dynamodb.operations.session_counters import adopt_session, unchanged
from session_continuity_dynamodb.operations.session_heads import is_live, read_heads
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.transactions import Action, delete, put, transact, update

_WATCHED = (
    names.ID,
    names.CREATED_AT,
    names.STATUS,
    names.EXPIRES_AT,
    names.TOKEN_BUDGET,
    names.TOKEN_COUNT,
    names.MESSAGE_COUNT,
    names.DELETING,
)


def watch_meta(expression: Expression, watched: Item) -> list[str]:
    """The conditions that META is as the gate knows it."""
    return [expression.same(name, watched.get(name)) for name in _WATCHED]


async def sync_gate(context: TableContext, session_id: str) -> Item:
    """Set the gate from META, if another writer has changed META alone, and return what META has.

    Raises SessionNotFoundError.
    """
    async for _ in context.sender.attempts():
        meta, item = await read_heads(context, session_id, consistent=True)
        if meta is None or not is_live(context, meta, item):
            raise SessionNotFoundError(session_id)
        if item is None:
            await adopt_session(context, session_id)
            continue
        session = session_of(meta, None)
        if not _is_in_line(meta, Counters.of(item), session):
            with suppress(CancelledTransactionError):  # somebody was faster: read both again
                await _set_from(context, meta, item, session)
            continue
        watched = {name: meta[name] for name in _WATCHED if name in meta}
        is_new = context.options.beside_kit and watched != context.hints.meta(session_id)
        if is_new and await take_in_messages(context, session_id, item):
            continue
        context.hints.remember_meta(session_id, watched)
        return watched
    raise contention()


async def set_gate_beside_kit(context: TableContext, session_id: str) -> None:
    """`sync_gate` where the TypeScript kit writes too. Edits and removals then see what it did to the session."""
    if context.options.beside_kit:
        await sync_gate(context, session_id)


def _is_in_line(meta: Item, counters: Counters, session: Session) -> bool:
    limit = hard_limit(session.token_budget)
    left = UNLIMITED if limit is None else limit - _counted_on_meta(meta, counters) - counters.tokens
    return (
        "S" not in meta.get(names.EXPIRES_AT, {})
        and (counters.status, counters.expires_at, counters.token_limit) == (session.status, session.expires_at, limit)
        and (limit is None or counters.tokens_left == left)
    )


def _counted_on_meta(meta: Item, counters: Counters) -> int:
    """The tokens that only META counts: those of other writers since the counters exist."""
    return integer(meta, names.TOKEN_COUNT) - counters.base_tokens


async def _set_from(context: TableContext, meta: Item, item: Item, session: Session) -> None:
    write_id = keys.new_write_id()
    change = Update()
    # Also an expiry that the kit wrote as text, which no condition can compare, becomes a number.
    for attribute, value in session_changes(context.keys, session, {"expires_at": session.expires_at}).items():
        change.set(attribute, value)
    change.set(names.HEADS_REVISION, write_id)
    change.where(*unchanged(change, meta), *watch_meta(change, meta))
    actions = [
        update(context.keys.meta(session.id), change),
        set_gate(context, meta, item, session, write_id, is_exact=False),
        *move_marker(context, time_of(item.get(names.EXPIRES_AT)), session),
    ]
    await transact(context.sender, actions, write_id)


def set_gate(context: TableContext, meta: Item, item: Item, after: Session, write_id: str, *, is_exact: bool) -> Action:
    """Write what appends check as the session has it now, also where another writer changed only META before.

    With `is_exact` the totals must be as read. Otherwise appends meanwhile do not matter.
    """
    counters = Counters.of(item)
    change = Update()
    change.set(names.WRITE_ID, write_id)
    change.set(names.HEADS_REVISION, write_id)
    change.set(names.STATUS, after.status)
    change.set(names.EXPIRES_AT, None if after.expires_at is None else seconds(after.expires_at))
    change.set(names.SLIDES, None if after.sliding_ttl is None else YES)
    limit = hard_limit(after.token_budget)
    if limit is None:
        change.set(names.TOKENS_LEFT, UNLIMITED)
        change.remove(names.TOKEN_LIMIT)
    else:
        # The update computes what is left from the count at that moment, so appends meanwhile are not lost.
        change.set_difference(names.TOKENS_LEFT, limit - _counted_on_meta(meta, counters), names.TOKEN_COUNT)
        change.set(names.TOKEN_LIMIT, limit)
    change.where(change.same(names.STATUS, item.get(names.STATUS)))
    if is_exact:
        change.where(change.same(names.WRITE_ID, item.get(names.WRITE_ID)))
    return update(context.keys.counters(after.id), change)


def move_marker(context: TableContext, marked: datetime | None, after: Session) -> list[Action]:
    """Move the expiry marker, which stands for the expiry `marked`."""
    if after.expires_at is None:
        return [] if marked is None else [delete(context.keys.item(after.id, keys.EXPIRY))]
    if marked is not None and keys.hour(marked) == keys.hour(after.expires_at):
        return []
    return [put(marker_item(context.keys, after.id, after.expires_at))]
