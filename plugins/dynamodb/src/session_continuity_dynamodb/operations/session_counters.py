"""The counters of a session: loading them, changing them with messages, and creating them for a session that the
TypeScript kit made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from session_continuity import Session, SessionNotFoundError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import UNLIMITED, Counters, hard_limit, is_gone
from session_continuity_dynamodb.items.large_messages import is_system
from session_continuity_dynamodb.items.message_codec import is_message
from session_continuity_dynamodb.items.places import NO_MESSAGE, TIMESTAMP_LENGTH, place_from_id
from session_continuity_dynamodb.items.session_codec import marker_item, session_of
from session_continuity_dynamodb.items.values import YES, Item, Value, integer
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_heads import PendingTailError, is_live, not_expired, read_heads
from session_continuity_dynamodb.operations.system_messages import Entries, change_list, load_counters
from session_continuity_dynamodb.requests.batches import get_item
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, put, put_new, transact, update

_IDENTITY = (names.WRITE_ID, names.CREATED_AT, names.VERSION, names.EXPIRES_AT)
"""What tells META from that of a later version, and of a session made anew under the same id."""

_PATIENCE = 2
"""Times that the messages of a session are counted again which the TypeScript kit counts differently."""


@dataclass(frozen=True, slots=True)
class LoadedSession:
    """A session's META and counters as they were at one moment. `totals` has all places of system messages."""

    meta: Item
    totals: Counters
    tail_revision: Value | None

    @property
    def session(self) -> Session:
        """The session with its totals. Raises UnreadableError."""
        return session_of(self.meta, self.totals)


async def load_session(context: TableContext, meta: Item, counters: Item | None) -> LoadedSession:
    """The session with these heads. For a session without counters its messages are counted.

    Where its list of system messages is changed while it is read, both heads are read again, so that they stay of one
    moment. Raises SessionNotFoundError if the session is deleted meanwhile.
    """
    session_id = meta[names.ID]["S"]
    context.hints.remember_slides(session_id, slides=counters is not None and names.SLIDES in counters)
    async for _ in context.sender.attempts():
        totals = await _count_messages(context, meta) if counters is None else await load_counters(context, counters)
        if totals is not None:
            return LoadedSession(meta, totals, (counters or {}).get(names.TAIL_REVISION))
        meta_now, counters = await read_heads(context, session_id, consistent=True)
        if meta_now is None or not is_live(context, meta_now, counters):
            raise SessionNotFoundError(session_id)
        meta = meta_now
    raise contention()


async def check_open_session(context: TableContext, session_id: str, item: Item | None) -> Counters:
    """The counters of a session after a condition on them failed. A session without the item gets one.

    `item` is what the condition met, if the engine returned it; otherwise it is read. Raises SessionNotFoundError and
    PendingTailError.
    """
    item = item or await get_item(context.sender, context.keys.counters(session_id), consistent=True)
    if item is None:
        return await adopt_session(context, session_id)
    if is_gone(item, context.now()):
        raise SessionNotFoundError(session_id)
    if names.REPLACING in item:
        raise PendingTailError
    return Counters.of(item)


async def adopt_session(context: TableContext, session_id: str) -> Counters:
    """Create the counters of a session that the TypeScript kit made, and return them. Raises SessionNotFoundError."""
    async for attempt in context.sender.pauses():
        meta, item = await read_heads(context, session_id, consistent=True)
        if meta is None or not is_live(context, meta, item):
            raise SessionNotFoundError(session_id)
        if item is not None:
            return Counters.of(item)
        counters = await _count_messages(context, meta)
        if context.options.beside_kit and attempt <= _PATIENCE and counters.messages != counters.base_messages:
            continue  # the kit counts a message after it has put it
        try:
            await transact(context.sender, _adoption(context, meta, counters), keys.new_write_id())
        except CancelledTransactionError:
            continue
        return counters
    raise contention()


def _adoption(context: TableContext, meta: Item, counters: Counters) -> list[Action]:
    session_id = meta[names.ID]["S"]
    change = Update()
    change.set(names.ADOPTED, YES)
    change.where(*unchanged(change, meta), change.same(names.MESSAGE_COUNT, meta.get(names.MESSAGE_COUNT)))
    actions = [
        update(context.keys.meta(session_id), change),
        put_new(counters.item(context.keys, session_id)),
    ]
    if counters.expires_at is not None:
        actions.append(put(marker_item(context.keys, session_id, counters.expires_at)))
    return actions


def session_is_there(expression: Expression) -> str:
    """The condition on META that the session exists and is not being deleted."""
    return f"{expression.exists(names.ID)} AND {expression.absent(names.DELETING)}"


def unchanged(expression: Expression, meta: Item) -> list[str]:
    """The conditions that META is of the same session, at the same version and with the same expiry, as it was read."""
    same = [expression.same(name, meta.get(name)) for name in _IDENTITY]
    return [session_is_there(expression), *same]


async def _count_messages(context: TableContext, meta: Item) -> Counters:
    """The counters that a session would have, from a read of all its messages."""
    session = session_of(meta, None)
    rows = await _read_counted(context, session.id)
    places = [keys.place_in(row) for row in rows]
    last = places[-1] if places else NO_MESSAGE
    tokens = sum(integer(row, names.TOKEN_COUNT) for row in rows)
    limit = hard_limit(session.token_budget)
    return Counters(
        status=session.status,
        expires_at=session.expires_at,
        last_place=last,
        last_activity_at=last[:TIMESTAMP_LENGTH] if places else None,
        messages=len(rows),
        tokens=tokens,
        tokens_left=UNLIMITED if limit is None else limit - tokens,
        token_limit=limit,
        system_places=tuple(keys.place_in(row) for row in rows if is_system(row)),
        base_messages=integer(meta, names.MESSAGE_COUNT),
        base_tokens=integer(meta, names.TOKEN_COUNT),
        slides=session.sliding_ttl is not None,
        foreign=any(place_from_id(row[names.ID]["S"]) != keys.place_in(row) for row in rows),
    )


async def _read_counted(context: TableContext, session_id: str) -> list[Item]:
    """A session's messages, without their bodies."""
    params = query(
        context.keys.partition(session_id),
        keys.MESSAGE,
        keys.AFTER_MESSAGES,
        attributes=(names.SORT_KEY, names.ID, names.ROLE, names.TOKEN_COUNT, names.CREATED_AT),
        consistent=True,
    )
    return [row async for rows in Pages(context.sender, params) for row in rows if is_message(row)]


def recount(
    context: TableContext,
    session_id: str,
    before: Sequence[Item],
    after: Sequence[Item],
    write_id: str,
    *,
    left: Sequence[Item],
    entries: Entries,
) -> Action:
    """The change of the counters in an edit, or in a removal, which leaves no rows. `left` are rows that leave the list
    of system messages, `entries` what comes onto it. Bodies are not read, so unreadable rows can be removed.
    """
    change = Update()
    change.where(
        change.exists(names.STATUS),
        change.compare(names.STATUS, "<>", names.DELETING),
        not_expired(context, change),
        change.absent(names.REPLACING),
        # A change that adds to counters must not be made twice: this fails if this very write went through before.
        change.absent_or(names.WRITE_ID, "<>", write_id),
    )
    change.set(names.WRITE_ID, write_id)
    change.set(names.EDIT_REVISION, keys.short_revision(write_id))
    tokens = [sum(integer(row, names.TOKEN_COUNT) for row in rows) for rows in (before, after)]
    if len(after) != len(before):
        change.add(names.MESSAGE_COUNT, len(after) - len(before))
    if tokens[1] != tokens[0]:
        change.add(names.TOKEN_COUNT, tokens[1] - tokens[0])
        change.add(names.TOKENS_LEFT, tokens[0] - tokens[1])
    change_list(change, left, entries, write_id)
    return update(context.keys.counters(session_id), change)
