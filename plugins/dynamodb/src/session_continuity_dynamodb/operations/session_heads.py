"""The heads of a session, META and the counters: reading them, and telling whether the session exists."""

from __future__ import annotations

from session_continuity import SessionNotFoundError
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import is_gone, is_past
from session_continuity_dynamodb.items.session_codec import is_session
from session_continuity_dynamodb.items.values import Item, Value, by_sort_key, expiry_of, seconds, string
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.batches import get_item, get_items
from session_continuity_dynamodb.requests.errors import contention
from session_continuity_dynamodb.requests.expressions import Expression


class PendingTailError(Exception):
    """The call has met messages that are being replaced. They are to be removed first, see `pending_tails`."""


async def read_heads(
    context: TableContext, session_id: str, *, consistent: bool | None = None
) -> tuple[Item | None, Item | None]:
    """META and the counters of a session, in one request, as they were at one moment.

    A batch is read item by item. Where a write of both came between, they are read again. If they still differ in the
    same way, another writer has removed or replaced one of them, and they are returned as they are.
    """
    wanted = [context.keys.meta(session_id), context.keys.counters(session_id)]
    seen: tuple[Value | None, Value | None] | None = None
    async for _ in context.sender.attempts():
        found = by_sort_key(await get_items(context.sender, wanted, consistent=consistent))
        meta, counters = found.get(keys.META), found.get(keys.COUNTERS)
        if meta is None or are_of_one_moment(meta, counters):
            return meta, counters
        revisions = meta.get(names.HEADS_REVISION), (counters or {}).get(names.HEADS_REVISION)
        if consistent and revisions == seen:
            return meta, counters
        seen, consistent = revisions, True
    raise contention()


def are_of_one_moment(meta: Item, counters: Item | None) -> bool:
    """Whether no write of both heads came between the reads of these.

    Only a session of the TypeScript kit has no counters.
    """
    if counters is None:
        return names.ADOPTED not in meta
    return meta.get(names.HEADS_REVISION) == counters.get(names.HEADS_REVISION)


def is_live(context: TableContext, meta: Item | None, counters: Item | None) -> bool:
    """Whether the session with these heads exists for other calls: it has not expired and is not being deleted."""
    return (
        meta is not None
        and is_session(meta)
        and not is_past(expiry_of(meta), context.now())
        and (counters is None or string(counters, names.STATUS) != names.DELETING)
    )


async def check_session_exists(context: TableContext, session_id: str, head: Item | None) -> Item:
    """Raises SessionNotFoundError unless the session exists, and returns the head that shows it. `head` is its counters
    or META, if a read returned one; otherwise it is read.

    Raises PendingTailError if the session has a tail that is being replaced.

    Beside the TypeScript kit META decides: the kit deletes and expires sessions without touching the counters.
    """
    if context.options.beside_kit and (head is None or head[names.SORT_KEY]["S"] != keys.META):
        head = await get_item(context.sender, context.keys.meta(session_id))
    elif head is None:
        head = await get_item(context.sender, context.keys.counters(session_id))
    if head is None:  # a session of the TypeScript kit
        head = await get_item(context.sender, context.keys.meta(session_id))
    if head is None or not _is_live_head(context, head):
        raise SessionNotFoundError(session_id)
    if names.REPLACING in head:
        raise PendingTailError
    return head


def _is_live_head(context: TableContext, head: Item) -> bool:
    if head[names.SORT_KEY]["S"] == keys.META:
        return is_live(context, head, None)
    return not is_gone(head, context.now())


def not_expired(context: TableContext, expression: Expression) -> str:
    """The condition that a head's expiry, a number, is later than now."""
    return expression.absent_or(names.EXPIRES_AT, ">", seconds(context.now()))
