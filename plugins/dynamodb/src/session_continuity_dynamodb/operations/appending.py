"""Appends: each is one transaction of the messages and the counters, which hold order, totals and what is allowed.

Nothing is read first. The last place is assumed, and the transaction is conditional on it. If the condition fails, the
response holds the counters as they are, and the append is repeated from those.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

from session_continuity import (
    Appended,
    AppendTerms,
    Message,
    Patch,
    Session,
    SessionClosedError,
    SessionContinuityError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    messages_to_store,
    with_stored,
)
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import OPEN_STATUSES, Counters, hard_limit
from session_continuity_dynamodb.items.large_messages import NewRow, check_batch_fits, new_row
from session_continuity_dynamodb.items.message_codec import message_of
from session_continuity_dynamodb.items.places import NO_MESSAGE, place_batch
from session_continuity_dynamodb.items.pointers import pointer_item
from session_continuity_dynamodb.items.values import YES, Item, key_of, seconds
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.gate import sync_gate
from session_continuity_dynamodb.operations.hints import LastRow
from session_continuity_dynamodb.operations.large_bodies import complete
from session_continuity_dynamodb.operations.last_message import LastMessage, assumed_end
from session_continuity_dynamodb.operations.lookup import find_rows
from session_continuity_dynamodb.operations.meta_terms import (
    MetaTerms,
    check_version,
    marker_actions,
    meta_actions,
    meta_terms,
    patch_counters,
)
from session_continuity_dynamodb.operations.session_counters import check_open_session
from session_continuity_dynamodb.operations.session_creation import creation_actions
from session_continuity_dynamodb.operations.session_heads import is_live, read_heads
from session_continuity_dynamodb.operations.session_removal import remove_remains
from session_continuity_dynamodb.operations.system_messages import (
    NO_ENTRIES,
    Entries,
    is_full,
    new_entries,
)
from session_continuity_dynamodb.requests.batches import delete_items, get_items
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression, Operand, Parameter, Update
from session_continuity_dynamodb.requests.transactions import (
    Action,
    check,
    delete,
    put,
    put_new,
    transact,
    update,
)

_MOST_HEADS = 3
"""The items of a new session: its counters, META and an expiry marker."""


async def append_messages(
    context: TableContext,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Add a batch at the end of a session, and do what the terms say, see the contract."""
    create = terms.get("create")
    if create is None:
        return await _append(context, session_id, messages, client_ids, terms)
    async for _ in context.sender.attempts():
        if not context.hints.knows(session_id):
            created = await _create_with(context, create, messages, client_ids, terms.get("patch"))
            if created is not None:
                return created
        try:
            return await _append(context, session_id, messages, client_ids, terms)
        except SessionNotFoundError:
            context.hints.forget_last_row(session_id)
            await remove_remains(context, session_id)
    raise contention()


async def _append(
    context: TableContext,
    session_id: str,
    messages: Sequence[Message],
    client_ids: Collection[str],
    terms: AppendTerms,
) -> Appended:
    """Add a batch to a session that exists."""
    last = context.hints.last_row(session_id)
    placed = place_batch(messages, NO_MESSAGE, client_ids)
    if placed[0][0] <= last.place:
        if any(context.hints.row(session_id, message.id) for message in messages):
            # Perhaps a repetition. At their own places the messages meet themselves; moved, they would be new.
            last = replace(last, place=NO_MESSAGE)
        else:
            placed = place_batch(messages, last.place, client_ids)
    rows = _new_rows(context, session_id, placed, client_ids)
    meta = await meta_terms(context, session_id, terms.get("patch"), terms.get("expected_version"))
    end = await assumed_end(context, session_id, terms.get("expected_last_id"))
    async for _ in context.sender.attempts():
        append = _prepare(context, session_id, rows, last, meta, end)
        try:
            await transact(context.sender, append.actions, append.write_id, parts=append.parts)
        except CancelledTransactionError as cancelled:
            if (stored := await _find_stored(context, session_id, messages, append, cancelled)) is not None:
                new = messages_to_store(stored, messages, terms.get("existing", "refuse"))
                if len(new) < len(messages):
                    added = await _append(context, session_id, new, client_ids, terms) if new else None
                    return Appended(messages=with_stored(stored, added.messages if added else ()), repeated=not new)
            counters, *others = cancelled.reasons[len(append.pointers) :]
            found = counters.item
            if meta.is_needed and others[0].failed:
                meta = await _read_meta(context, session_id, meta)
                found = None  # the counters as they were before
            if counters.failed:
                last = await _read_end(context, session_id, rows, found)
                rows = _new_rows(context, session_id, place_batch(messages, last.place, client_ids), client_ids)
            end = await end.after_failure(context, session_id)
        else:
            slides = meta.slides(before=last.slides)
            known = LastRow(rows[-1].place, is_list_full=last.is_list_full, slides=slides)
            context.hints.remember_append(session_id, [row.item for row in rows], known)
            return Appended(messages=tuple([row.message for row in rows]), slides=slides)
    raise contention()


async def _read_meta(context: TableContext, session_id: str, terms: MetaTerms) -> MetaTerms:
    """The terms after their condition on META failed. Raises ConcurrencyError and SessionNotFoundError."""
    if terms.expected_version is not None or context.options.namespace:
        await check_version(context, session_id, terms.expected_version)
    if not context.options.namespace:
        await sync_gate(context, session_id)
    return await meta_terms(context, session_id, terms.patch, terms.expected_version)


def _new_rows(
    context: TableContext, session_id: str, placed: Sequence[tuple[str, Message]], client_ids: Collection[str]
) -> list[NewRow]:
    """Raises MessageTooLargeError."""
    partition = context.keys.partition(session_id)
    return [
        new_row(partition, place, message, context.options, own_id=message.id in client_ids)
        for place, message in placed
    ]


@dataclass(frozen=True, slots=True)
class _Append:
    """One attempt. The actions of its transaction are the pointers, the counters, perhaps META, and the messages.
    `heads` are the places of the actions between pointers and messages."""

    write_id: str
    actions: list[Action]
    heads: range
    pointers: list[Item]
    rows: Sequence[NewRow]
    parts: list[Item]


def _prepare(
    context: TableContext, session_id: str, rows: Sequence[NewRow], last: LastRow, meta: MetaTerms, end: LastMessage
) -> _Append:
    """Raises MessageTooLargeError."""
    write_id = keys.new_write_id()
    pointers = [pointer_item(row.item) for row in rows if row.own_id]
    parts = [part for row in rows for part in row.parts]
    check_batch_fits(rows, len(pointers), context.options)
    on_terms = [
        *meta_actions(context, session_id, meta, write_id),
        *end.actions(context, session_id),
        *marker_actions(context, session_id, meta),
    ]
    entries = NO_ENTRIES
    if system := [row.item for row in rows if row.message.role == "system"]:
        others = len(pointers) + 1 + len(rows) + len(parts) + len(on_terms)
        entries = new_entries(context, system, actions=others, is_full=last.is_list_full)
    actions = [
        *map(put_new, pointers),
        _advance(context, session_id, rows, last, entries, write_id, meta, end),
        *on_terms,
        *[put_new(row.item) for row in rows],
        *map(put, entries.rows),
    ]
    heads = range(len(pointers), len(pointers) + 1 + len(on_terms))
    return _Append(write_id, actions, heads, pointers, rows, parts)


def _advance(
    context: TableContext,
    session_id: str,
    rows: Sequence[NewRow],
    last: LastRow,
    entries: Entries,
    write_id: str,
    meta: MetaTerms,
    end: LastMessage,
) -> Action:
    """The counters' part of an append: conditional on what is allowed, it moves the end and the totals."""
    tokens = sum([row.message.token_count or 0 for row in rows])
    values: dict[str, Operand] = {
        "now": seconds(context.now()),
        "known": last.place,
        "first": rows[0].place,
        "last": rows[-1].place,
        "at": rows[-1].item[names.CREATED_AT],
        "write": write_id,
        "messages": len(rows),
        "tokens": tokens,
    }
    change = _plain_advance(last.slides)
    is_plain = entries is NO_ENTRIES and meta.patch is None and end.expected is None
    if not is_plain:
        change = _new_advance(last.slides)
        entries.apply_to(change, write_id)
        change.where(*end.conditions(change))
        if meta.patch is not None:
            change.set(names.HEADS_REVISION, write_id)
    if is_plain or not patch_counters(change, meta, tokens):
        values["spent"] = -tokens
        if not is_plain:
            _spend(change)
    return update(context.keys.counters(session_id), change, values)


def _new_plain_advance(slides: bool) -> Update:
    change = _new_advance(slides)
    _spend(change)
    return change


def _spend(change: Update) -> None:
    change.add(names.TOKENS_LEFT, Parameter("spent"))


def _new_advance(slides: bool) -> Update:
    """The change of `_advance` without that of the tokens left, with parameters for its values.

    It is conditional on whether the session slides, which nothing else tells: a transaction returns no item.
    """
    change = Update()
    change.where(
        change.any_of(names.STATUS, OPEN_STATUSES),
        change.absent_or(names.EXPIRES_AT, ">", Parameter("now")),
        # The assumed end must have been reached, or the session is another one, made anew under the same id.
        change.compare(names.LAST_KEY, ">=", Parameter("known")),
        change.compare(names.LAST_KEY, "<", Parameter("first")),
        change.compare(names.TOKENS_LEFT, ">=", Parameter("tokens")),
        change.absent(names.REPLACING),
        change.same(names.SLIDES, YES if slides else None),
    )
    change.set(names.LAST_KEY, Parameter("last"))
    change.set(names.LAST_ACTIVITY_AT, Parameter("at"))
    change.set(names.WRITE_ID, Parameter("write"))
    change.add(names.MESSAGE_COUNT, Parameter("messages"))
    change.add(names.TOKEN_COUNT, Parameter("tokens"))
    return change


_plain_advance = cache(_new_plain_advance)
"""The change of all appends without system messages and terms, built once: only its values differ."""


async def _create_with(
    context: TableContext,
    create: Session,
    messages: Sequence[Message],
    client_ids: Collection[str],
    patch: Patch | None,
) -> Appended | None:
    """Create a session with a batch and a patch in one transaction. None if there is a session, or remains of one."""
    await _check_new_gate(context, create, messages)
    write_id = keys.new_write_id()
    session = create if patch is None else patch.apply(create).model_copy(update={"version": create.version + 1})
    rows = _new_rows(context, session.id, place_batch(messages, NO_MESSAGE, client_ids), client_ids)
    pointers = [pointer_item(row.item) for row in rows if row.own_id]
    parts = [part for row in rows for part in row.parts]
    check_batch_fits(rows, len(pointers), context.options)
    system = [row.item for row in rows if row.message.role == "system"]
    others = len(pointers) + len(rows) + len(parts) + _MOST_HEADS
    entries = new_entries(context, system, actions=others, is_full=False)
    counters = Counters.new(session).after(
        rows[-1].place, len(rows), sum(row.message.token_count or 0 for row in rows), entries.places
    )
    actions = [
        *creation_actions(context, session, counters, write_id, first_system_row=bool(entries.rows)),
        *map(put_new, pointers),
        *[put_new(row.item) for row in rows],
        *map(put, entries.rows),
    ]
    try:
        await transact(context.sender, actions, write_id, parts=parts)
    except CancelledTransactionError:
        return None
    slides = session.sliding_ttl is not None
    end = LastRow(rows[-1].place, is_list_full=bool(entries.rows), slides=slides)
    context.hints.remember_append(session.id, [row.item for row in rows], end)
    return Appended(messages=tuple(row.message for row in rows), created=True, slides=slides)


async def _check_new_gate(context: TableContext, create: Session, messages: Sequence[Message]) -> None:
    """Raises the contract's error if this new session does not take the batch, unless there is a session already."""
    limit = hard_limit(create.token_budget)
    tokens = sum(message.token_count or 0 for message in messages)
    refused: SessionContinuityError | None = None
    if create.status not in OPEN_STATUSES:
        refused = SessionClosedError(create.id, create.status)
    elif limit is not None and tokens > limit:
        refused = TokenBudgetExceededError(create.id, requested=tokens, limit=limit, used=0)
    if refused is not None:
        meta, counters = await read_heads(context, create.id, consistent=True)
        if meta is None or not is_live(context, meta, counters):
            raise refused


async def _find_stored(
    context: TableContext,
    session_id: str,
    sent: Sequence[Message],
    append: _Append,
    cancelled: CancelledTransactionError,
) -> list[Message | None] | None:
    """The messages of the batch that are stored already, None for each that is not. None if no id is taken."""
    reasons, pointers = cancelled.reasons, append.pointers
    is_any_taken = any(reason.failed for place, reason in enumerate(reasons) if place not in append.heads)
    # A transaction has a reason for each message that exists. Writes one by one stop at the counters, before them.
    if not is_any_taken and not pointers and context.sender.atomic:
        return None
    wanted = sent if pointers else [row.message for row in append.rows]
    found = await find_rows(context, session_id, [message.id for message in wanted], consistent=True)
    stored = [message_of(row, session_id) if row else None for row in await complete(context, found)]
    if not any(stored):
        in_the_way = [pointer for pointer, reason in zip(pointers, reasons, strict=False) if reason.failed]
        await _drop_dangling(context, in_the_way)
        return None
    return stored


async def _drop_dangling(context: TableContext, pointers: Sequence[Item]) -> None:
    """Delete existing pointers under these keys that lead to no message.

    They stay behind when a writer that does not know pointers removes a message, and when the process of an append
    without transactions dies.
    """
    dangling = await get_items(context.sender, [key_of(pointer) for pointer in pointers], consistent=True)
    if not context.sender.atomic:
        await delete_items(context.sender, map(key_of, dangling))
    elif dangling:
        with suppress(CancelledTransactionError):  # one leads to a message by now: the next attempt finds out
            actions = [action for pointer in dangling for action in _drop(pointer)]
            await transact(context.sender, actions, keys.new_write_id())


def _drop(pointer: Item) -> list[Action]:
    """Delete a pointer on the condition that it leads to no message."""
    message, same = Expression(), Expression()
    message.where(message.absent(names.ID))
    same.where(same.same(names.REF, pointer[names.REF]))
    place = keys.MESSAGE + pointer[names.REF]["S"]
    message_key = {names.PARTITION_KEY: pointer[names.PARTITION_KEY], names.SORT_KEY: {"S": place}}
    return [check(message_key, message), delete(key_of(pointer), same)]


async def _read_end(context: TableContext, session_id: str, rows: Sequence[NewRow], item: Item | None) -> LastRow:
    """The end of the session, from which to try again. Raises the contract's error if the session takes no messages."""
    counters = await check_open_session(context, session_id, item)
    if counters.status not in OPEN_STATUSES:
        raise SessionClosedError(session_id, counters.status)
    tokens = sum(row.message.token_count or 0 for row in rows)
    limit, left = counters.token_limit, counters.tokens_left
    if left < tokens and limit is not None:
        raise TokenBudgetExceededError(session_id, requested=tokens, limit=limit, used=limit - left)
    added = sum(row.message.role == "system" for row in rows)
    return LastRow(counters.last_place, is_list_full=is_full(counters, added), slides=counters.slides)
