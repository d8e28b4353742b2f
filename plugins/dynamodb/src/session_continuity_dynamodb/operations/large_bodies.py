"""Reading the bodies of messages that are stored in parts."""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.large_messages import join_parts, part_keys
from session_continuity_dynamodb.items.message_codec import PLAIN
from session_continuity_dynamodb.items.values import Item, by_sort_key, key_of
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.batches import get_items
from session_continuity_dynamodb.requests.errors import contention

_NO_BODY: Item = {names.BODY: {"B": b""}, names.CODEC: {"S": PLAIN}}
"""A body that cannot be read, for a message whose parts are missing."""


async def complete(context: TableContext, rows: Sequence[Item | None]) -> list[Item | None]:
    """These rows with their bodies. All bodies in parts usually take one more request.

    A message that is removed meanwhile becomes None. One whose parts are missing for another reason cannot be read.
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
        heads = await get_items(context.sender, [key_of(head) for head in torn], consistent=True)
        if consistent:  # a head that still names the same parts is damaged
            before = {head[names.SORT_KEY]["S"]: head[names.PARTS] for head in torn}
            damaged = [head for head in heads if head.get(names.PARTS) == before[head[names.SORT_KEY]["S"]]]
            found |= by_sort_key({**head, **_NO_BODY} for head in damaged)
            heads = [head for head in heads if head not in damaged]
        consistent = True
    raise contention()


async def _read_parts(context: TableContext, heads: Sequence[Item], *, consistent: bool) -> list[Item | None]:
    """The heads with their bodies, None where a part is missing. A head that an edit has made whole stays as it is."""
    wanted = [key for head in heads for key in part_keys(head)]
    parts = by_sort_key(await get_items(context.sender, wanted, consistent=consistent))
    return [join_parts(head, [parts.get(key[names.SORT_KEY]["S"]) for key in part_keys(head)]) for head in heads]
