"""Forks: a session with copies of the messages of another, and the list of them.

A fork that fits into one transaction is written by it. A larger one first claims its id: by counters that look like
those of a session that is being deleted. So no call sees it, a create of the id removes it, and so does the cleanup if
this process dies. Its rows are written on the condition that the claim still stands. The last transaction puts the real
heads in place of the claim. Rows are copied as they are, without decoding them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from session_continuity import (
    Fork,
    MessageNotFoundError,
    Page,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
    is_repeated_create,
)
from session_continuity_dynamodb.config import MAX_BATCH_BYTES, MAX_ITEM_BYTES
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.large_messages import is_system, part_keys
from session_continuity_dynamodb.items.message_codec import is_message
from session_continuity_dynamodb.items.places import place_from_id
from session_continuity_dynamodb.items.pointers import pointer_item
from session_continuity_dynamodb.items.session_codec import (
    link_item,
    link_of,
    marker_item,
    meta_item,
)
from session_continuity_dynamodb.items.values import Item, as_sent, integer, item_size, time_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.lookup import find_rows
from session_continuity_dynamodb.operations.session_counters import load_session, session_is_there
from session_continuity_dynamodb.operations.session_heads import PendingTailError, is_live, read_heads
from session_continuity_dynamodb.operations.session_removal import remove_remains
from session_continuity_dynamodb.operations.system_messages import MOST, list_rows
from session_continuity_dynamodb.requests.batches import get_items
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, check, delete, put, put_if, put_new, transact

_HEADS = 5
"""The actions of a fork beside its rows: counters, META, marker, link, and the check of its source."""

_MOST_BYTES = MAX_BATCH_BYTES - MAX_ITEM_BYTES
"""The bytes of rows in one transaction. The rest is room for a large META."""

_CLAIM_LASTS = timedelta(hours=1)
"""How long a cleanup leaves a fork that is being written alone."""


async def fork_session(context: TableContext, source_id: str, session: Session, through_id: str | None) -> Session:
    """Create a session with copies of the messages of another, see the contract."""
    async for _ in context.sender.pauses():
        source = await _read_source(context, source_id, through_id)
        with suppress(CancelledTransactionError):
            if await _write(context, source, session):
                context.hints.forget_last_row(session.id)
                return source.result(session)
        meta, counters = await read_heads(context, session.id, consistent=True)
        if meta is None or not is_live(context, meta, counters):
            await remove_remains(context, session.id)
            continue
        existing = (await load_session(context, meta, counters)).session
        if not is_repeated_create(existing, session):
            raise SessionExistsError(session.id)
        return existing
    raise contention()


@dataclass(frozen=True)
class _Source:
    """What is copied: rows of messages with all their attributes, and the parts that they name."""

    session_id: str
    meta: Item
    rows: list[Item]
    parts: list[Item] = field(default_factory=list[Item])

    def counters(self, fork: Session) -> Counters:
        """The counters of the fork, without system messages that do not fit into them."""
        places = [keys.place_in(row) for row in self.rows]
        tokens = sum(integer(row, names.TOKEN_COUNT) for row in self.rows)
        system = self.system_places()
        new = Counters.new(fork)
        if not places:
            return new
        listed = system if len(system) <= MOST else []
        return new.after(places[-1], len(places), tokens, listed, is_foreign=any(map(_is_foreign, self.rows)))

    def system_places(self) -> list[str]:
        """The places of the system messages."""
        return [keys.place_in(row) for row in self.rows if is_system(row)]

    def result(self, fork: Session) -> Session:
        """The fork as it is stored."""
        counters = self.counters(fork)
        last = time_of({"S": counters.last_activity_at}) if counters.last_activity_at else None
        system = [row[names.ID]["S"] for row in self.rows if is_system(row)]
        totals = {
            "message_count": counters.messages,
            "token_count": counters.tokens,
            "system_message_ids": system,
            "last_activity_at": fork.last_activity_at if last is None else max(last, fork.last_activity_at),
        }
        return fork.model_copy(update=totals)


def _is_foreign(row: Item) -> bool:
    return names.OWN_ID not in row and place_from_id(row[names.ID]["S"]) != keys.place_in(row)


async def _read_source(context: TableContext, source_id: str, through_id: str | None) -> _Source:
    """The messages to copy. Raises SessionNotFoundError and MessageNotFoundError."""
    meta, item = await read_heads(context, source_id, consistent=True)
    if meta is None or not is_live(context, meta, item):
        raise SessionNotFoundError(source_id)
    if names.REPLACING in meta:
        raise PendingTailError
    end = await _end(context, source_id, item, through_id)
    params = query(context.keys.partition(source_id), keys.MESSAGE, end, consistent=True)
    rows = [row async for page in Pages(context.sender, params) for row in page if is_message(row)]
    if through_id is not None and (not rows or rows[-1][names.ID]["S"] != through_id):
        raise MessageNotFoundError(source_id, through_id)
    wanted = [key for row in rows for key in part_keys(row)]
    parts = await get_items(context.sender, wanted, consistent=True) if wanted else []
    if len(parts) < len(wanted):  # edited between the two reads
        return await _read_source(context, source_id, through_id)
    return _Source(source_id, meta, rows, parts)


async def _end(context: TableContext, source_id: str, item: Item | None, through_id: str | None) -> str:
    """The sort key of the last message to copy. Messages that are appended during the call lie behind it."""
    if through_id is None:
        last = None if item is None else Counters.of(item).last_place
        return keys.AFTER_MESSAGES if last is None else keys.MESSAGE + last
    place = place_from_id(through_id)
    if place is not None:
        return keys.MESSAGE + place
    [row] = await find_rows(context, source_id, [through_id], consistent=True)
    if row is None:
        raise MessageNotFoundError(source_id, through_id)
    return keys.MESSAGE + keys.place_in(row)


async def _write(context: TableContext, source: _Source, fork: Session) -> bool:
    """Write the fork in one transaction, or in several behind a claim. False if its id cannot be claimed.

    Raises CancelledTransactionError if the id is not free, the claim has been removed, or the source is gone.
    """
    write_id = keys.new_write_id()
    groups = list(_groups(context, _copies(context, source, fork)))
    if len(groups) <= 1:
        first = [action for group in groups for action in group]
        await transact(context.sender, [*_heads(context, source, fork, write_id, None), *first], write_id)
        return True
    if not await _claim(context, fork, write_id):
        return False
    for group in groups:
        guard = check(context.keys.counters(fork.id), _stands(write_id))
        await transact(context.sender, [guard, *group], keys.new_write_id())
    await transact(context.sender, _heads(context, source, fork, write_id, write_id), keys.new_write_id())
    return True


def _copies(context: TableContext, source: _Source, fork: Session) -> Iterator[Item]:
    """The items of the fork's messages: their parts, rows, pointers and entries in the list of system messages."""
    partition = {"S": context.keys.partition(fork.id)}
    for part in source.parts:
        yield {**as_sent(part), names.PARTITION_KEY: partition}
    is_listed_in_rows = len(source.system_places()) > MOST
    for row in source.rows:
        copy = {**as_sent(row), names.PARTITION_KEY: partition, names.SESSION_ID: {"S": fork.id}}
        yield copy
        if names.OWN_ID in copy:
            yield pointer_item(copy)
        if is_listed_in_rows and is_system(copy):
            yield from list_rows([copy])


def _groups(context: TableContext, items: Iterator[Item]) -> Iterator[list[Action]]:
    """The writes of these items, in groups that each fit into one transaction with the heads."""
    most = context.options.transaction_items - _HEADS
    group: list[Action] = []
    size = 0
    for item in items:
        more = item_size(item)
        if group and (len(group) == most or size + more > _MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(put(item))
        size += more
    if group:
        yield group


async def _claim(context: TableContext, fork: Session, claim: str) -> bool:
    """Take the id, if it is free. The marker leads the cleanup to the claim, if this process dies."""
    mark = {names.STATUS: {"S": names.DELETING}, names.DELETING: {"S": claim}, names.WRITE_ID: {"S": claim}}
    absent = Expression()
    absent.where(absent.absent(names.PARTITION_KEY))
    actions = [
        put_new({**context.keys.counters(fork.id), **mark}),
        check(context.keys.meta(fork.id), absent),
        put(marker_item(context.keys, fork.id, context.now() + _CLAIM_LASTS)),
    ]
    try:
        await transact(context.sender, actions, claim)
    except CancelledTransactionError:
        return False
    return True


def _stands(claim: str) -> Expression:
    expression = Expression()
    expression.where(expression.compare(names.DELETING, "=", claim))
    return expression


def _heads(context: TableContext, source: _Source, fork: Session, write_id: str, claim: str | None) -> list[Action]:
    """The actions that make the fork visible, if its source is still there."""
    written: Item = {names.WRITE_ID: {"S": write_id}, names.HEADS_REVISION: keys.short_revision(write_id)}
    listed: Item = {names.FORK_OF: {"S": link_of(fork, source.session_id)}}
    if len(source.system_places()) > MOST:
        listed[names.SYSTEM_ROWS] = {"S": write_id}
    counters = {**source.counters(fork).item(context.keys, fork.id), **written, **listed}
    lives = Expression()
    same = [lives.same(name, source.meta.get(name)) for name in (names.CREATED_AT, names.TAIL_REVISION)]
    lives.where(session_is_there(lives), *same)
    actions = [
        put_new(counters) if claim is None else put_if(counters, _stands(claim)),
        put_new({**meta_item(context.keys, fork), **written}),
        check(context.keys.meta(source.session_id), lives),
        put(link_item(context.keys, fork, source.session_id)),
    ]
    if fork.expires_at is not None:
        actions.append(put(marker_item(context.keys, fork.id, fork.expires_at)))
    elif claim is not None:
        actions.append(delete(context.keys.item(fork.id, keys.EXPIRY)))
    return actions


async def list_forks(context: TableContext, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
    """A page of the forks of a session, see the contract."""
    bound_to = f"forks of {source_id}"
    start = None if cursor is None else decode_cursor(cursor, bound_to=bound_to, form=str)
    params = query(context.keys.partition(source_id), keys.FORK, keys.AFTER_FORKS, consistent=context.sender.consistent)
    after = None if start is None else context.keys.item(source_id, keys.FORK + start)
    (meta, counters), rows = await context.sender.both(
        partial(read_heads, context, source_id), partial(_read_links, context, params, after, limit + 1)
    )
    if meta is None or not is_live(context, meta, counters):
        raise SessionNotFoundError(source_id)
    found = tuple(map(_fork_of, rows[:limit]))
    if len(rows) <= limit:
        return Page(found)
    last: str = rows[limit - 1][names.SORT_KEY]["S"]
    return Page(found, encode_cursor(last[len(keys.FORK) :], bound_to=bound_to))


async def _read_links(context: TableContext, params: dict[str, object], after: Item | None, count: int) -> list[Item]:
    pages = Pages(context.sender, params, start=after, limit=count)
    found: list[Item] = []
    while not pages.ended and len(found) < count:
        found += await anext(pages)
    return found[:count]


def _fork_of(link: Item) -> Fork:
    created_at = time_of(link[names.CREATED_AT])
    assert created_at is not None
    message_id = link[names.FORK_MESSAGE]["S"] if names.FORK_MESSAGE in link else None
    return Fork(session_id=link[names.FORK_ID]["S"], message_id=message_id, created_at=created_at)
