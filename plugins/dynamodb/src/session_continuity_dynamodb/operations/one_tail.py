"""Telling whether messages that were read one by one are of two moments of a tail that was replaced in between.

DynamoDB reads a batch item by item, and a long range in several requests. A replacement is one transaction, but such a
read may meet some messages before it and others after it. Most reads show that they did not by what they hold anyway:
every message is there, none lies behind the last place that the counters know, and none lies where the last
replacement has removed everything. Only another one is checked, by a second look at the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.values import Item, Value, by_sort_key, key_of, string
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_heads import PendingTailError
from session_continuity_dynamodb.requests.batches import get_items


def tail_revision(write_id: str, low: str, high: str) -> Value:
    """The value that a replacement leaves on both heads: its id, and the places between which it removed messages, the
    first excluded."""
    return {"L": [{"S": write_id}, {"S": low}, {"S": high}]}


async def check_one_tail(
    context: TableContext, session_id: str, head: Item, rows: Sequence[Item | None], *, is_last: bool = False
) -> None:
    """Raises PendingTailError if these rows are of two moments. A row that is missing is None.

    `head` was read together with them, or after all of them with `is_last`.
    """
    found = [row for row in rows if row is not None]
    is_doubtful = len(found) < len(rows) or any(
        _was_removed(head, row) or (not is_last and _is_later(head, row)) for row in found
    )
    if not found or not is_doubtful or not context.sender.atomic:
        return
    wanted = [context.keys.counters(session_id), *map(key_of, found)]
    now = by_sort_key(await get_items(context.sender, wanted, consistent=True))
    counters = now.pop(keys.COUNTERS, head)
    if len(now) < len(found) or counters.get(names.TAIL_REVISION) != head.get(names.TAIL_REVISION):
        raise PendingTailError


def _is_later(head: Item, row: Item) -> bool:
    """Whether the row lies behind the last place, as the head knows it."""
    last = string(head, names.LAST_KEY)
    return last is not None and keys.place_in(row) > last


def _was_removed(head: Item, row: Item) -> bool:
    """Whether the row lies where the last replacement has removed everything."""
    revision = head.get(names.TAIL_REVISION, {})
    if "L" not in revision:
        return False
    _, low, high = (text["S"] for text in revision["L"])
    return bool(low < keys.place_in(row) <= high)
