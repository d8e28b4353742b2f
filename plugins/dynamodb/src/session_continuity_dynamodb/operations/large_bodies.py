"""Reading the bodies of messages that are stored in parts."""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity import StorageError
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.large_messages import join_parts, part_keys
from session_continuity_dynamodb.items.values import Item, by_sort_key, key_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.batches import get_items
from session_continuity_dynamodb.requests.errors import contention


async def complete(context: TableContext, rows: Sequence[Item | None]) -> list[Item | None]:
    """These rows with their bodies. All bodies in parts usually take one more request.

    A message that is removed meanwhile becomes None. Raises StorageError if parts are missing for another reason.
    """
    heads = [row for row in rows if row is not None and names.PARTS in row]
    if not heads:
        return list(rows)
    found = await _complete_heads(context, heads)
    return [row if row is None or names.PARTS not in row else found.get(row[names.SORT_KEY]["S"]) for row in rows]


async def _complete_heads(context: TableContext, heads: list[Item]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    consistent = context.sender.consistent
    async for _ in context.sender.attempts():
        joined = await _read_parts(context, heads, consistent=consistent)
        found |= by_sort_key(row for row in joined if row is not None)
        torn = [head for head, row in zip(heads, joined, strict=True) if row is None]
        if not torn:
            return found
        heads = await _read_again(context, torn, is_strict=consistent)
        consistent = True
    raise contention()


async def _read_parts(context: TableContext, heads: Sequence[Item], *, consistent: bool) -> list[Item | None]:
    """The heads with their bodies, None where a part is missing. A head that an edit has made whole stays as it is."""
    wanted = [key for head in heads for key in part_keys(head)]
    parts = by_sort_key(await get_items(context.sender, wanted, consistent=consistent))
    return [join_parts(head, [parts.get(key[names.SORT_KEY]["S"]) for key in part_keys(head)]) for head in heads]


async def _read_again(context: TableContext, torn: Sequence[Item], *, is_strict: bool) -> list[Item]:
    """The present heads of messages whose parts were missing. `is_strict` says that the parts were read consistently:
    then a head that still names the same parts is damaged."""
    heads = await get_items(context.sender, [key_of(head) for head in torn], consistent=True)
    before = by_sort_key(torn)
    if is_strict and any(head.get(names.PARTS) == before[head[names.SORT_KEY]["S"]][names.PARTS] for head in heads):
        raise StorageError(
            "parts of a message are missing although no edit removed them; delete the message, or write it again"
        )
    return heads
