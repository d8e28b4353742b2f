"""What calls cost: requests of one adapter's client, items that DynamoDB looked at, and capacity units.

Imported only for measuring, never by the store itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from session_continuity import ConfigError, Cost, StorageAdapter, innermost
from session_continuity_dynamodb.adapter import DynamoDBStorage
from session_continuity_dynamodb.requests.client import ITEM_OPERATIONS


@dataclass
class _Meter:
    """Listens to a client's events. A request that the SDK sends again counts again."""

    requests: int = 0
    items: int = 0
    units: float = 0.0

    def request_capacity(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "TOTAL"} if model.name in ITEM_OPERATIONS else params

    def count_request(self, **_: Any) -> None:
        self.requests += 1

    def count_response(self, parsed: dict[str, Any], **_: Any) -> None:
        consumed: Any = parsed.get("ConsumedCapacity") or []
        entries = cast("list[dict[str, Any]]", consumed if isinstance(consumed, list) else [consumed])
        self.units += sum(entry["CapacityUnits"] for entry in entries)
        self.items += _items_in(parsed)

    def cost(self) -> Cost:
        return Cost(requests=self.requests, reads=self.items, units=self.units)


def _items_in(parsed: dict[str, Any]) -> int:
    """The items that DynamoDB looked at, also those that a filter left out."""
    batches: dict[str, Any] = parsed.get("Responses") or {}
    return int(parsed.get("ScannedCount", 0)) + sum(map(len, batches.values())) + bool(parsed.get("Item"))


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter's client does inside the block.

    Raises ConfigError for an adapter of another store, and for one that has not sent a request yet.
    """
    store = innermost(adapter)
    if not isinstance(store, DynamoDBStorage) or store.native is None:
        raise ConfigError("this cost meter needs a DynamoDB store that has served a call")
    meter, events = _Meter(), store.native.meta.events
    listeners = {
        "provide-client-params": meter.request_capacity,
        "before-send": meter.count_request,
        "after-call": meter.count_response,
    }
    for event, listener in listeners.items():
        events.register(f"{event}.dynamodb.*", listener)
    try:
        yield meter.cost
    finally:
        for event, listener in listeners.items():
            events.unregister(f"{event}.dynamodb.*", listener)
