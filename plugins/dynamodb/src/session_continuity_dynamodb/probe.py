"""What calls cost: the requests of one adapter's client, the items that they looked at, and the capacity units that AWS
charges for them. Imported by those who ask, never on a serving path."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_dynamodb.adapter import DynamoDBStorage
from session_continuity_dynamodb.clients import ITEM_OPERATIONS


@dataclass
class _Meter:
    """Listens to a client's events. Requests that the SDK sends again count again."""

    requests: int = 0
    items: int = 0
    units: float = 0.0

    def ask(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "TOTAL"} if model.name in ITEM_OPERATIONS else params

    def sent(self, **_: Any) -> None:
        self.requests += 1

    def answered(self, parsed: dict[str, Any], **_: Any) -> None:
        consumed: Any = parsed.get("ConsumedCapacity") or []
        entries = cast("list[dict[str, Any]]", consumed if isinstance(consumed, list) else [consumed])
        self.units += sum(entry["CapacityUnits"] for entry in entries)
        self.items += _items(parsed)

    def cost(self) -> Cost:
        return Cost(requests=self.requests, reads=self.items, units=self.units)


def _items(parsed: dict[str, Any]) -> int:
    """The items that the service looked at: also those that a filter left out."""
    batches: dict[str, Any] = parsed.get("Responses") or {}
    return int(parsed.get("ScannedCount", 0)) + sum(map(len, batches.values())) + bool(parsed.get("Item"))


@contextmanager
def probe(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter's client does. Raises ConfigError for another store's adapter, and for one that has sent
    nothing yet."""
    if not isinstance(adapter, DynamoDBStorage) or adapter.native is None:
        raise ConfigError("this probe counts the requests of a DynamoDBStorage that has served a call")
    meter, events = _Meter(), adapter.native.meta.events
    heard = {"provide-client-params": meter.ask, "before-send": meter.sent, "after-call": meter.answered}
    for event, listener in heard.items():
        events.register(f"{event}.dynamodb.*", listener)
    try:
        yield meter.cost
    finally:
        for event, listener in heard.items():
            events.unregister(f"{event}.dynamodb.*", listener)
