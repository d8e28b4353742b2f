"""What can be wrong with an item."""

from __future__ import annotations

from session_continuity_dynamodb.items.names import PARTITION_KEY, SORT_KEY
from session_continuity_dynamodb.items.values import Item


class UnreadableItemError(Exception):
    """An item does not hold what its key promises. The cause says why."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"item {item[SORT_KEY]['S']!r} of {item[PARTITION_KEY]['S']!r}")
