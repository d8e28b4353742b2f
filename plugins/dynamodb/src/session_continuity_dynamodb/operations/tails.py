"""Replacing the end of a conversation: one transaction, or one and removals behind a mark, see `pending_tails`.

The tail is read first. The transaction is conditional on the counters being as read with it: every write of messages
changes them. New messages always lie behind the places of the old ones. So the removal of all messages allows appends
meanwhile: however many there are, and however long it reads, it is done at the first attempt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from session_continuity import (
    ConversationChangedError,
    Message,
    MessageNotFoundError,
    Replaced,
    SessionClosedError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    UnreadableError,
    ValidationError,
    is_same_tail,
)
from session_continuity_dynamodb.config import MAX_BATCH_BYTES
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import OPEN_STATUSES, UNLIMITED, Counters, is_gone
from session_continuity_dynamodb.items.large_messages import (
    NewRow,
    check_batch_fits,
    is_system,
    new_row,
    part_keys,
)
from session_continuity_dynamodb.items.message_codec import is_message, messages_of
from session_continuity_dynamodb.items.places import NO_MESSAGE, place_batch
from session_continuity_dynamodb.items.pointers import pointer_item, pointer_sort
from session_continuity_dynamodb.items.values import Item, Value, by_sort_key, integer, item_size, key_of, string_set
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import set_gate_beside_kit, sync_gate, watch_meta
from session_continuity_dynamodb.operations.large_bodies import complete
from session_continuity_dynamodb.operations.lookup import find_rows
from session_continuity_dynamodb.operations.one_tail import tail_revision
from session_continuity_dynamodb.operations.pending_tails import finish, mark_of
from session_continuity_dynamodb.operations.session_counters import adopt_session, session_is_there
from session_continuity_dynamodb.operations.session_heads import PendingTailError, not_expired
from session_continuity_dynamodb.operations.system_messages import MOST, list_keys, list_rows
from session_continuity_dynamodb.requests.batches import get_item
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, delete, put, put_new, transact, update

_SAME = (names.WRITE_ID, names.LAST_KEY, names.STATUS)
"""What no write of messages leaves as it is on the counters."""

_SAME_BUT_FOR_APPENDS = (names.HEADS_REVISION, names.EDIT_REVISION, names.TAIL_REVISION, names.STATUS)
"""What an append leaves as it is on the counters. The first tells a session from one made anew under its id."""

_NO_TOTALS: Item = {names.MESSAGE_COUNT: {"N": "0"}, names.TOKEN_COUNT: {"N": "0"}}


@dataclass(frozen=True)
class _Tail:
    """The messages behind a place, and the counters as they were read with them.

    With `is_open`, messages that are appended after the counters were read stay. `known` is META where the totals are
    set and not changed, because the TypeScript kit may have removed messages without counting.
    """

    after: str
    after_id: str
    rows: list[Item]
    item: Item
    is_open: bool = False
    known: Item | None = None

    @property
    def counters(self) -> Counters:
        """The counters."""
        return Counters.of(self.item)

    @property
    def tokens(self) -> int:
        """The tokens of the messages."""
        return sum(integer(row, names.TOKEN_COUNT) for row in self.rows)

    @property
    def ids(self) -> set[str]:
        """The ids of the messages."""
        return {row[names.ID]["S"] for row in self.rows}


async def replace_tail(
    context: TableContext,
    session_id: str,
    after_id: str | None,
    messages: Sequence[Message] = (),
    client_ids: Collection[str] = (),
    expected_last_id: str | None = None,
    return_removed: bool = False,
) -> Replaced:
    """Remove everything after a message, and add a batch in its place, see the contract."""
    await set_gate_beside_kit(context, session_id)
    async for _ in context.sender.attempts():
        tail = await _read_tail(context, session_id, after_id)
        is_compared = len(tail.rows) == len(messages)
        old, unreadable = await _decode(context, session_id, tail.rows) if is_compared or return_removed else ((), [])
        if is_compared and not unreadable and is_same_tail(old, messages):
            return Replaced(messages=old, repeated=True)
        if return_removed and unreadable:
            raise UnreadableError(f"message {unreadable[0]!r} of session {session_id!r}")
        _check(session_id, tail, messages, expected_last_id)
        await _check_ids(context, session_id, tail, messages, client_ids)
        placed = place_batch(messages, tail.counters.last_place, client_ids)
        partition = context.keys.partition(session_id)
        rows = [
            new_row(partition, place, message, context.options, own_id=message.id in client_ids)
            for place, message in placed
        ]
        try:
            await _replace(context, session_id, tail, rows)
        except CancelledTransactionError:
            continue
        removed = old if return_removed else ()
        stored = tuple(row.message for row in rows)
        return Replaced(messages=stored, removed_count=len(tail.rows), removed=removed)
    raise contention()


async def remove_all(context: TableContext, session_id: str) -> int:
    """Remove the messages that a session has, and return how many. Raises SessionNotFoundError."""
    beside_kit = context.options.beside_kit
    async for _ in context.sender.attempts():
        known = await sync_gate(context, session_id) if beside_kit else None
        # The TypeScript kit appends without the counters, so its last messages may lie behind the end that they know.
        tail = await _read_tail(context, session_id, None, is_open=not beside_kit)
        if not tail.rows and (known is None or _is_counted_empty(tail.counters, known)):
            return 0
        try:
            await _replace(context, session_id, replace(tail, known=known), [])
        except CancelledTransactionError:
            continue
        if known is not None:
            context.hints.remember_meta(session_id, {**known, **_NO_TOTALS})
        return len(tail.rows)
    raise contention()


def _is_counted_empty(counters: Counters, meta: Item) -> bool:
    return (integer(meta, names.MESSAGE_COUNT), integer(meta, names.TOKEN_COUNT)) == (
        counters.base_messages - counters.messages,
        counters.base_tokens - counters.tokens,
    )


async def _replace(context: TableContext, session_id: str, tail: _Tail, rows: Sequence[NewRow]) -> None:
    """Write the new tail in place of the old one. Raises CancelledTransactionError if others wrote meanwhile."""
    if not await _commit(context, session_id, tail, rows):
        await finish(context, session_id)
    for message_id in tail.ids:
        context.hints.forget_row(session_id, message_id)
    context.hints.forget_last_row(session_id)


async def _decode(
    context: TableContext, session_id: str, rows: Sequence[Item]
) -> tuple[tuple[Message, ...], list[str]]:
    """The messages in these rows, and the ids of those that cannot be read."""
    whole = await complete(context, rows)
    messages, unreadable = messages_of([row for row in whole if row is not None], session_id)
    return tuple(messages), unreadable


async def _read_tail(context: TableContext, session_id: str, after_id: str | None, *, is_open: bool = False) -> _Tail:
    """Raises SessionNotFoundError and MessageNotFoundError."""
    after = await _place(context, session_id, after_id)
    item, rows = await _read_behind(context, session_id, after)
    if item is None:
        await adopt_session(context, session_id)
        return await _read_tail(context, session_id, after_id, is_open=is_open)
    if is_gone(item, context.now()):
        raise SessionNotFoundError(session_id)
    if names.REPLACING in item:
        raise PendingTailError
    found = [row for row in rows if is_message(row)]
    if is_open:
        last = Counters.of(item).last_place
        found = [row for row in found if keys.place_in(row) <= last]
    if after_id is not None and (not found or found.pop(0)[names.ID]["S"] != after_id):
        raise MessageNotFoundError(session_id, after_id)
    return _Tail(after, after_id or "", found, item, is_open)


async def _read_behind(context: TableContext, session_id: str, after: str) -> tuple[Item | None, list[Item]]:
    """The counters, and the rows from a place on. None where the session has no counters.

    The counters are those that were there before the first row was read. In one page both are of one moment. An edit
    of a row that was read, before the next page, would not be seen otherwise.
    """
    params = query(context.keys.partition(session_id), keys.MESSAGE + after, keys.COUNTERS, consistent=True)
    pages = Pages(context.sender, params, limit=context.options.transaction_items + 1)
    rows = await anext(pages)
    if pages.ended:
        return by_sort_key(rows).get(keys.COUNTERS), rows
    item = await get_item(context.sender, context.keys.counters(session_id), consistent=True)
    return item, [row async for page in Pages(context.sender, params) for row in page]


async def _place(context: TableContext, session_id: str, message_id: str | None) -> str:
    """The place of a message. Raises MessageNotFoundError."""
    if message_id is None:
        return NO_MESSAGE  # and not an empty text, which some engines refuse
    hint = context.hints.row(session_id, message_id)
    if hint is not None:
        return keys.place_in(hint)
    [row] = await find_rows(context, session_id, [message_id], consistent=True)
    if row is None:
        raise MessageNotFoundError(session_id, message_id)
    return keys.place_in(row)


def _check(session_id: str, tail: _Tail, messages: Sequence[Message], expected_last_id: str | None) -> None:
    """Raises what prevents the replacement, by the counters."""
    last_id = tail.rows[-1][names.ID]["S"] if tail.rows else tail.after_id
    if expected_last_id is not None and last_id != expected_last_id:
        raise ConversationChangedError(session_id, expected_last_id=expected_last_id, last_id=last_id)
    if not messages:
        return
    counters = tail.counters
    if counters.status not in OPEN_STATUSES:
        raise SessionClosedError(session_id, counters.status)
    limit, left = counters.token_limit, counters.tokens_left + tail.tokens
    tokens = sum(message.token_count or 0 for message in messages)
    if limit is not None and tokens > left:
        raise TokenBudgetExceededError(session_id, requested=tokens, limit=limit, used=limit - left)


async def _check_ids(
    context: TableContext, session_id: str, tail: _Tail, messages: Sequence[Message], client_ids: Collection[str]
) -> None:
    """Raises ValidationError if a message of the batch has the id of one that stays."""
    asked = [message.id for message in messages if message.id in client_ids and message.id not in tail.ids]
    rows = await find_rows(context, session_id, asked, consistent=True) if asked else []
    for message_id, row in zip(asked, rows, strict=True):
        if row is not None:
            raise ValidationError(f"message id {message_id!r} belongs to a message that stays; choose a new id")


async def _commit(context: TableContext, session_id: str, tail: _Tail, rows: Sequence[NewRow]) -> bool:
    """Write the new tail, and remove the old one if it fits into the same transaction. False if it is left behind a
    mark."""
    write_id = keys.new_write_id()
    pointers = [pointer_item(row.item) for row in rows if row.own_id]
    parts = [part for row in rows for part in row.parts]
    check_batch_fits(rows, len(pointers), context.options)
    places, listed = _system_lists(context, tail, rows, others=2 + len(rows) + len(pointers) + len(parts))
    puts = [*map(put, pointers), *[put_new(row.item) for row in rows], *map(put, listed)]
    removals = [delete(key) for key in _keys_of(context, session_id, tail, rows)]
    size = sum(map(item_size, tail.rows)) + sum(row.size for row in rows)
    is_small = (
        2 + len(puts) + len(parts) + len(removals) <= context.options.transaction_items
        and not any(names.PARTS in row for row in tail.rows)
        and size <= MAX_BATCH_BYTES
    )
    mark = {} if is_small else mark_of(write_id, tail.after, tail.counters.last_place)
    heads = [
        _change_counters(context, session_id, tail, rows, places, write_id, mark, lists_rows=bool(listed)),
        _change_meta(context, session_id, tail, write_id, mark),
    ]
    await transact(context.sender, [*heads, *puts, *(removals if is_small else [])], write_id, parts=parts)
    return is_small


def _system_lists(
    context: TableContext, tail: _Tail, rows: Sequence[NewRow], *, others: int
) -> tuple[list[str], list[Item]]:
    """The places of system messages that the counters list afterwards, and the rows that list the others."""
    removed = {keys.place_in(row) for row in tail.rows}
    kept = [place for place in tail.counters.system_places if place not in removed]
    new = [row.item for row in rows if row.message.role == "system"]
    if len(kept) + len(new) <= MOST or others + len(new) > context.options.transaction_items:
        return kept + [keys.place_in(item) for item in new], []
    return kept, list_rows(new)


def _keys_of(context: TableContext, session_id: str, tail: _Tail, rows: Sequence[NewRow]) -> list[Item]:
    """The keys of the old messages and of what belongs to them, without pointers that the new ones use again."""
    again = {row.message.id for row in rows if row.own_id}
    own = [row[names.ID]["S"] for row in tail.rows if names.OWN_ID in row]
    return [
        *map(key_of, tail.rows),
        *[key for row in tail.rows for key in part_keys(row)],
        *list_keys([row for row in tail.rows if is_system(row)]),
        *[context.keys.item(session_id, pointer_sort(each)) for each in own if each not in again],
    ]


def _change_counters(
    context: TableContext,
    session_id: str,
    tail: _Tail,
    rows: Sequence[NewRow],
    places: Sequence[str],
    write_id: str,
    mark: Item,
    *,
    lists_rows: bool,
) -> Action:
    change = Update()
    same = _SAME_BUT_FOR_APPENDS if tail.is_open else _SAME
    change.where(
        *[change.same(name, tail.item.get(name)) for name in same],
        not_expired(context, change),
        change.absent(names.REPLACING),
    )
    for name in (names.WRITE_ID, names.SYSTEM_REVISION):
        change.set(name, write_id)
    change.set(names.TAIL_REVISION, _revision(tail, write_id))
    if rows:
        change.set(names.LAST_KEY, rows[-1].place)
        change.set(names.LAST_ACTIVITY_AT, rows[-1].item[names.CREATED_AT])
    left = set(tail.counters.system_places) - set(places)
    if not tail.is_open:
        change.set(names.SYSTEM_PLACES, string_set(places) if places else None)
    elif left:
        change.take_out(names.SYSTEM_PLACES, string_set(left))
    if lists_rows:
        change.set_once(names.SYSTEM_ROWS, write_id)
    for name, value in mark.items():
        change.set(name, value)
    if tail.known is not None:
        for name, value in _NO_TOTALS.items():
            change.set(name, value)
        for name in (names.BASE_MESSAGES, names.BASE_TOKENS):
            change.remove(name)
        limit = tail.counters.token_limit
        change.set(names.TOKENS_LEFT, UNLIMITED if limit is None else limit)
        return update(context.keys.counters(session_id), change)
    tokens = sum(row.message.token_count or 0 for row in rows) - tail.tokens
    change.add(names.MESSAGE_COUNT, len(rows) - len(tail.rows))
    change.add(names.TOKEN_COUNT, tokens)
    change.add(names.TOKENS_LEFT, -tokens)
    return update(context.keys.counters(session_id), change)


def _revision(tail: _Tail, write_id: str) -> Value:
    return tail_revision(write_id, tail.after, tail.counters.last_place)


def _change_meta(context: TableContext, session_id: str, tail: _Tail, write_id: str, mark: Item) -> Action:
    """META has the revision and the mark too: a read from the beginning meets META, and not the counters."""
    change = Update()
    change.where(session_is_there(change))
    change.set(names.TAIL_REVISION, _revision(tail, write_id))
    if tail.known is not None:
        change.where(*watch_meta(change, tail.known))
        mark = {**mark, **_NO_TOTALS}
    for name, value in mark.items():
        change.set(name, value)
    return update(context.keys.meta(session_id), change)
