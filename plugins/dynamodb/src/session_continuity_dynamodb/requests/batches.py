"""Reads of items by key, and batches of reads and deletes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from session_continuity_dynamodb.items.values import Item
from session_continuity_dynamodb.requests.errors import unprocessed
from session_continuity_dynamodb.requests.sender import Sender

_READ_BATCH = 100
_WRITE_BATCH = 25


async def get_item(sender: Sender, key: Item, *, consistent: bool | None = None) -> Item | None:
    """The item with this key, or None."""
    strong = sender.consistent if consistent is None else consistent
    response = await sender.request("GetItem", {"Key": key, "ConsistentRead": strong})
    return response.get("Item") or None


async def get_items(sender: Sender, keys: Sequence[Item], *, consistent: bool | None = None) -> list[Item]:
    """The items that exist under these keys, in any order. Up to 100 take one request."""
    strong = sender.consistent if consistent is None else consistent
    batches = [keys[start : start + _READ_BATCH] for start in range(0, len(keys), _READ_BATCH)]
    found = await sender.gather([partial(_get_batch, sender, batch, strong) for batch in batches])
    return [item for items in found for item in items]


async def _get_batch(sender: Sender, keys: Sequence[Item], consistent: bool) -> list[Item]:
    wanted: Any = {sender.table: {"Keys": list(keys), "ConsistentRead": consistent}}
    found: list[Item] = []
    async for _ in sender.pauses():
        is_moving = True
        while is_moving:  # DynamoDB returns 16 MB at once; only a response without items is a reason to wait
            response = await sender.call("BatchGetItem", {"RequestItems": wanted})
            items: list[Item] = response.get("Responses", {}).get(sender.table, [])
            found += items
            wanted = response.get("UnprocessedKeys")
            if not wanted:
                return found
            is_moving = bool(items)
    raise unprocessed(sender.table)


async def delete_items(sender: Sender, keys: Iterable[Item]) -> None:
    """Delete the items under these keys, 25 with each request and several requests at the same time."""
    listed = list(keys)
    batches = [listed[start : start + _WRITE_BATCH] for start in range(0, len(listed), _WRITE_BATCH)]
    await sender.gather([partial(_delete_batch, sender, batch) for batch in batches])


async def _delete_batch(sender: Sender, keys: list[Item]) -> None:
    left: Any = {sender.table: [{"DeleteRequest": {"Key": key}} for key in keys]}
    async for _ in sender.pauses():
        response = await sender.call("BatchWriteItem", {"RequestItems": left})
        left = response.get("UnprocessedItems")
        if not left:
            return
    raise unprocessed(sender.table)
