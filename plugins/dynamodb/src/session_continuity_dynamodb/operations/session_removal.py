"""Removing a session: first a tombstone, which shuts out all other calls, then its rows, and its heads last.

Every call that meets a tombstone may finish the work: a repeated delete, or a create of the same id. An expiry marker
leads `get_expired_sessions`, and with it the cleanup, to a tombstone whose delete was interrupted. Rows are found by
their partition, so rows of every kind are removed.

A delete may be overtaken: another call finishes its work, and a session is made anew under the same id. The delete
does not harm that session. It removes only rows that it listed while its tombstone stood. A key that may come back,
because its caller chose the id, is removed only on the condition that the tombstone still stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from session_continuity import ConcurrencyError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import is_past
from session_continuity_dynamodb.items.large_messages import part_keys
from session_continuity_dynamodb.items.session_codec import is_session, link_key, marker_item, session_of
from session_continuity_dynamodb.items.values import Item, by_sort_key, expiry_of, key_of, seconds, string, time_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_counters import load_session
from session_continuity_dynamodb.operations.session_heads import is_live, read_heads
from session_continuity_dynamodb.requests.batches import delete_items, get_item
from session_continuity_dynamodb.requests.errors import CancelledTransactionError, contention
from session_continuity_dynamodb.requests.expressions import Expression, Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, check, delete, put, transact, update

_ABANDONED = timedelta(minutes=1)
"""After this time a delete that is not finished is taken to be interrupted."""

_HEADS = (keys.META, keys.COUNTERS, keys.EXPIRY)


async def delete_session(
    context: TableContext, session_id: str, expired_before: datetime | None, expected_version: int | None = None
) -> bool:
    """Remove a session and everything that belongs to it, see the contract."""
    async for _ in context.sender.attempts():
        meta, counters = await read_heads(context, session_id, consistent=True)
        head = meta or counters
        if head is None and not await _has_rows(context, session_id):
            return False
        tombstone = _tombstone(counters)
        if tombstone is not None:
            is_removed = await _remove_under(context, session_id, tombstone)
            return is_removed and (expired_before is not None or _is_left(context, session_id, tombstone, counters))
        if head is not None and expired_before is not None and not _has_expired(head, expired_before):
            return False
        if expected_version is not None and meta is not None and is_session(meta):
            await _check_version(context, meta, counters, expected_version)
        if await _begin(context, session_id, meta, counters):
            return counters is not None or (meta is not None and names.ID in meta)
    raise contention()


async def remove_remains(context: TableContext, session_id: str) -> None:
    """Remove what is left of a session that has expired, is half deleted, or has no META."""
    meta, counters = await read_heads(context, session_id, consistent=True)
    if (meta or counters) and not is_live(context, meta, counters):
        tombstone = _tombstone(counters)
        if tombstone is None:
            tombstone = await _put_up_tombstone(context, session_id, meta, counters, keys.new_write_id())
        if tombstone is not None:
            await _remove_under(context, session_id, tombstone)


async def remove_late_rows(context: TableContext, session_id: str) -> None:
    """Remove rows that lie where there is no session.

    A writer that does not look whether the session is still there, as the TypeScript kit, leaves them behind a delete.
    """
    if not await _has_rows(context, session_id):
        return
    meta, counters = await read_heads(context, session_id, consistent=True)
    if meta is None and counters is None:
        await _begin(context, session_id, meta, counters)


def _tombstone(counters: Item | None) -> str | None:
    return None if counters is None else string(counters, names.DELETING)


async def _begin(context: TableContext, session_id: str, meta: Item | None, counters: Item | None) -> bool:
    """Put up a tombstone, and remove everything under it. False if the heads have changed since they were read."""
    write_id = keys.new_write_id()
    is_ended = False
    try:
        tombstone = await _put_up_tombstone(context, session_id, meta, counters, write_id)
        if tombstone is not None:
            await _remove_under(context, session_id, tombstone)
        is_ended = True
    finally:
        if not is_ended:
            context.hints.remember_unfinished_delete(session_id, write_id)
    return tombstone is not None


def _is_left(context: TableContext, session_id: str, tombstone: str, counters: Item | None) -> bool:
    """Whether the delete with this tombstone was interrupted: by an error here, or so long ago that its process died.

    Otherwise the call that put it up returns True, and this one, which has met it, returns False.
    """
    if counters is None or names.LAST_KEY not in counters:
        return False  # there was no session: rows without heads, or the claim of a fork
    since = time_of(counters.get(names.DELETING_SINCE))
    is_old = since is None or since + _ABANDONED <= context.now()
    return is_old or context.hints.unfinished_delete(session_id) == tombstone


async def _check_version(context: TableContext, meta: Item, counters: Item | None, expected: int) -> None:
    """Raises ConcurrencyError if META is at another version."""
    if session_of(meta, None).version != expected:
        current = (await load_session(context, meta, counters)).session
        raise ConcurrencyError(current.id, expected=expected, actual=current.version, current=current)


def _has_expired(head: Item, moment: datetime) -> bool:
    return is_past(expiry_of(head), moment)


async def _put_up_tombstone(
    context: TableContext, session_id: str, meta: Item | None, counters: Item | None, write_id: str
) -> str | None:
    """Make the counters the tombstone, take META out of the indexes and off the service's own expiry, and return the
    tombstone's id. None if the heads have changed since they were read."""
    context.hints.forget_last_row(session_id)
    change = Update()
    change.set(names.STATUS, names.DELETING)
    change.set(names.DELETING_SINCE, seconds(context.now()))
    actions = [_mark_deleting(context.keys.counters(session_id), change, counters, write_id)]
    if meta is not None:
        change = Update()
        for attribute in (keys.USER_PARTITION, keys.AGENT_PARTITION, names.TTL):
            change.remove(attribute)
        actions.append(_mark_deleting(context.keys.meta(session_id), change, meta, write_id))
    if counters is not None and names.FORK_OF in counters:
        actions.append(delete(link_key(context.keys, counters[names.FORK_OF]["S"], session_id)))
    # The marker leads the cleanup here, if this process dies before it has removed the rows.
    actions.append(put(marker_item(context.keys, session_id, context.now())))
    try:
        await transact(context.sender, actions, write_id)
    except CancelledTransactionError:
        return None
    return write_id


def _mark_deleting(key: Item, change: Update, head: Item | None, write_id: str) -> Action:
    change.set(names.DELETING, write_id)
    change.set(names.WRITE_ID, write_id)
    if head is None:
        change.where(change.absent(names.PARTITION_KEY))
    else:
        watched = (names.EXPIRES_AT, names.ADOPTED, names.DELETING, names.VERSION)
        change.where(change.exists(names.PARTITION_KEY), *(change.same(name, head.get(name)) for name in watched))
    return update(key, change)


async def _remove_under(context: TableContext, session_id: str, tombstone: str) -> bool:
    """Remove everything under this tombstone. Returns False if another call has removed the heads."""
    if not await _remove_rows(context, session_id, tombstone):
        return False
    actions = [
        delete(context.keys.counters(session_id), _stands(tombstone)),
        delete(context.keys.meta(session_id)),
        delete(context.keys.item(session_id, keys.EXPIRY)),
    ]
    try:
        await transact(context.sender, actions, keys.new_write_id())
    except CancelledTransactionError:
        return False
    return True


def _stands(tombstone: str) -> Expression:
    """The condition that the counters are this tombstone."""
    expression = Expression()
    expression.where(expression.compare(names.DELETING, "=", tombstone))
    return expression


async def _remove_rows(context: TableContext, session_id: str, tombstone: str) -> bool:
    """Delete every row of the partition except the heads. False if the tombstone was removed meanwhile.

    It lists the rows twice. The first list is eventually consistent, at half the price. The second one is strongly
    consistent, usually finds nothing, and then costs next to nothing.
    """
    for consistent in (False, True):
        async for rows in Pages(context.sender, _all_rows(context, session_id, consistent=consistent)):
            if not await _remove_listed(context, session_id, tombstone, rows):
                return False
    return True


async def _remove_listed(context: TableContext, session_id: str, tombstone: str, rows: Sequence[Item]) -> bool:
    listed = [row for row in rows if row[names.SORT_KEY]["S"] not in _HEADS]
    if not listed:
        return True
    counters = await get_item(context.sender, context.keys.counters(session_id), consistent=True)
    if _tombstone(counters) != tombstone:
        return False
    return await _remove(context, session_id, tombstone, [*listed, *_parts_on_later_pages(listed)])


def _parts_on_later_pages(rows: Sequence[Item]) -> list[Item]:
    """The parts that these messages name and that are not among the rows. Removed with their messages they need not be
    listed, which takes a page for every two or three."""
    named = by_sort_key(key for row in rows for key in part_keys(row))  # a pointer names its message's parts again
    return [named[sort] for sort in named.keys() - by_sort_key(rows).keys()]


async def _remove(context: TableContext, session_id: str, tombstone: str, rows: Sequence[Item]) -> bool:
    plain: list[Item] = []
    guarded: list[Item] = []
    for row in rows:
        (guarded if context.sender.atomic and _may_come_back(row) else plain).append(key_of(row))
    await delete_items(context.sender, plain)  # a batch has no conditions, at half the price of a transaction
    size = context.options.transaction_items - 1
    for start in range(0, len(guarded), size):
        actions = [
            check(context.keys.counters(session_id), _stands(tombstone)),
            *map(delete, guarded[start : start + size]),
        ]
        try:
            await transact(context.sender, actions, keys.new_write_id())
        except CancelledTransactionError:
            return False
    return True


def _may_come_back(row: Item) -> bool:
    return names.OWN_ID in row or row[names.SORT_KEY]["S"].startswith(keys.POINTER)


async def _has_rows(context: TableContext, session_id: str) -> bool:
    return bool(await anext(Pages(context.sender, _all_rows(context, session_id, consistent=True), limit=1)))


def _all_rows(context: TableContext, session_id: str, *, consistent: bool) -> dict[str, object]:
    attributes = (names.PARTITION_KEY, names.SORT_KEY, names.OWN_ID, names.PARTS)
    return query(context.keys.partition(session_id), attributes=attributes, consistent=consistent)
