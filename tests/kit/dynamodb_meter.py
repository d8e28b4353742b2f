"""Records what a DynamoDB client sends, with its capacity units, and checks it by the service's rules.

Engines accept requests that the service refuses. `check_request` fails for them, so that a test on any engine fails
where the service would refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from session_continuity_dynamodb.items.values import item_size
from session_continuity_dynamodb.requests.client import ITEM_OPERATIONS

Item = dict[str, Any]

_INDEX_KEYS = ("GSI1PK", "GSI1SK", "GSI2PK", "GSI2SK")


@dataclass
class Request:
    """One request, and the capacity units that the engine reports for it: of the table, and of its indexes."""

    api: str
    params: dict[str, Any]
    units: float = 0.0
    index_units: float = 0.0


def apis(requests: Iterable[Request]) -> list[str]:
    """The operations of the requests, in their order."""
    return [request.api for request in requests]


@dataclass
class Meter:
    """The requests of the clients that it watches, in the order in which they were sent."""

    requests: list[Request] = field(default_factory=list[Request])

    def watch(self, client: Any) -> None:
        """Record and check every request of a boto3 client from now on."""
        client.meta.events.register("provide-client-params.dynamodb.*", self._record)
        client.meta.events.register("after-call.dynamodb.*", self._record_units)

    @contextmanager
    def counting(self) -> Iterator[list[Request]]:
        """The requests that were sent inside the block. The list is filled when the block ends."""
        sent: list[Request] = []
        start = len(self.requests)
        yield sent
        sent += self.requests[start:]

    def _record(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        check_request(model.name, params)
        self.requests.append(Request(model.name, params))
        return {**params, "ReturnConsumedCapacity": "INDEXES"} if model.name in ITEM_OPERATIONS else params

    def _record_units(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        request = next(request for request in reversed(self.requests) if request.api == model.name)
        consumed = parsed.get("ConsumedCapacity") or []
        for entry in consumed if isinstance(consumed, list) else [consumed]:
            request.units += entry["CapacityUnits"]
            for index in entry.get("GlobalSecondaryIndexes", {}).values():
                request.index_units += index["CapacityUnits"]


def transaction_units(params: Item, read_item: Callable[[Item], Item]) -> int:
    """The capacity units of a transaction by the service's rule: two for each kilobyte of each item, rounded up.

    Engines report the same figure for any transaction. `read_item` returns the item with a key, as it is afterwards; an
    empty item is counted as a small one.
    """
    actions = [action for entry in params["TransactItems"] for action in entry.values()]
    items = [action.get("Item") or read_item(action["Key"]) for action in actions]
    return sum(2 * max(1, math.ceil(item_size(item) / 1024)) for item in items)


def check_request(api: str, params: dict[str, Any]) -> None:
    """Raises AssertionError for a request that the real service refuses."""
    if api == "TransactWriteItems":
        actions = [action for entry in params["TransactItems"] for action in entry.values()]
        assert 1 <= len(actions) <= 100, f"{len(actions)} actions in a transaction"
        _check_distinct(_key(action.get("Key") or action["Item"]) for action in actions)
        for action in actions:
            _check_one(action)
    elif api == "BatchWriteItem":
        [requests] = params["RequestItems"].values()
        assert 1 <= len(requests) <= 25, f"{len(requests)} writes in a batch"
        _check_distinct(_key(write.get("Key") or write["Item"]) for request in requests for write in request.values())
    elif api == "BatchGetItem":
        [wanted] = params["RequestItems"].values()
        assert 1 <= len(wanted["Keys"]) <= 100, f"{len(wanted['Keys'])} keys in a batch"
        _check_distinct(map(_key, wanted["Keys"]))
    else:
        _check_one(params)


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["PK"]["S"], item["SK"]["S"]


def _check_distinct(keys: Iterable[tuple[str, str]]) -> None:
    found = list(keys)
    assert len(set(found)) == len(found), f"the same item twice in one request: {found}"


def _check_one(params: dict[str, Any]) -> None:
    expressions = [text for name, text in params.items() if name.endswith("Expression")]
    used = set(re.findall(r"[#:]\w+", " ".join(expressions)))
    names, values = params.get("ExpressionAttributeNames", {}), params.get("ExpressionAttributeValues", {})
    assert used == {*names, *values}, f"aliases used and stated differ: {used ^ {*names, *values}}"
    assert names or "ExpressionAttributeNames" not in params, "an empty map of names"
    assert values or "ExpressionAttributeValues" not in params, "an empty map of values"
    for text in expressions:
        assert len(text.encode()) <= 4096, "an expression over 4 KB"
        bare = re.sub(r"[#:]\w+|\b(SET|ADD|DELETE|REMOVE|AND|OR|NOT|IN|BETWEEN|\w+(?=\())\b", "", text)
        assert not re.search(r"[A-Za-z]", bare), f"a bare name in {text!r}"
    for operands in re.findall(r"IN \(([^)]*)\)", " ".join(expressions)):
        assert operands.count(",") < 100, "IN with over 100 operands"
    if "KeyConditionExpression" in params and "FilterExpression" in params:
        in_filter = {names[alias] for alias in re.findall(r"#\w+", params["FilterExpression"])}
        assert not in_filter & {"PK", "SK", *_INDEX_KEYS}, "a key in a query's filter"
    for name, value in params.get("Item", {}).items():
        if name in ("PK", "SK", *_INDEX_KEYS):
            assert value.get("S"), f"the key {name} must be a text that is not empty"
