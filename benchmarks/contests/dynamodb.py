"""The DynamoDB store against boto3 by hand, on one server: DynamoDB Local, unless it is told another.

Requests, bytes and capacity units are counted too. Units are those of the service's published rules: DynamoDB Local's
own figures for reads, half of its figures for batches, which it doubles, and the sizes of the items for transactions,
where its figures are wrong.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from typing import Any
from urllib.parse import urlencode

import boto3
import botocore
from tests.dynamodb.engines import REGION, running
from tests.dynamodb.harness import IDENTITY

from benchmarks.lines.dynamodb import DynamoDBLine
from benchmarks.measure import Call, Contest, Cost, finished
from benchmarks.relay import relayed
from benchmarks.subject import StoreSubject, subjects
from session_continuity import Message, format_timestamp
from session_continuity_dynamodb.bodies import message_item
from session_continuity_dynamodb.keys import ACTIVITY, MESSAGE, Keys
from session_continuity_dynamodb.values import item_size

TABLE = "benchmark"
BATCH = 25


@asynccontextmanager
async def contests(url: str | None, latency: float) -> AsyncIterator[list[Contest]]:
    os.environ |= IDENTITY
    with _endpoint(url) as server, relayed(server, latency) as at:
        async with AsyncExitStack() as opened:
            line, other = (
                opened.enter_context(closing(boto3.client("dynamodb", endpoint_url=to, region_name=REGION)))
                for to in (at, server)
            )
            filler = _Filler(other)
            stores = [
                subject
                for mode in ("blocking", "async")
                for subject in await subjects(opened, lambda name: _url(at, name), mode, filler.write)
            ]
            client = f"boto3 by hand, botocore {botocore.__version__}"
            yield [Contest("dynamodb", client, [DynamoDBLine(line, TABLE), *stores], lambda who: _Meter(who, other))]


@contextmanager
def _endpoint(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with running("local") as engine:
        yield engine.url


def _url(endpoint: str, namespace: str) -> str:
    """Reads are eventually consistent, as the limit line's are."""
    options = {
        "endpoint_url": endpoint,
        "region": REGION,
        "namespace": namespace,
        "create_table": "true",
        "consistent_read": "false",
        "transaction_items": "10",
    }
    return f"dynamodb://{TABLE}?{urlencode(options)}"


class _Filler:
    """Writes rows straight into the table, as the store would write them: DynamoDB Local takes no large turns."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def write(self, subject: StoreSubject, messages: list[Message]) -> list[Message]:
        keys = Keys(subject.name)
        rows = [message_item(keys, message, own_id=False, compression=None) for message in messages]
        for start in range(0, len(rows), BATCH):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + BATCH]]
            self._client.batch_write_item(RequestItems={TABLE: puts})
        self._client.update_item(
            TableName=TABLE,
            Key={"PK": rows[0]["PK"], "SK": {"S": ACTIVITY}},
            UpdateExpression="SET lastKey = :last, lastActivityAt = :at, messageCount = :count, tokenCount = :tokens",
            ExpressionAttributeValues={
                ":last": {"S": rows[-1]["SK"]["S"].removeprefix(MESSAGE)},
                ":at": {"S": format_timestamp(messages[-1].created_at)},
                ":count": {"N": str(len(rows))},
                ":tokens": {"N": str(sum(message.token_count or 0 for message in messages))},
            },
        )
        return messages


class _Meter:
    """Counts what a subject's client sends and receives during a call; asks for sizes with another client."""

    def __init__(self, subject: Any, other: Any) -> None:
        self._other = other
        self._transactions: list[dict[str, Any]] = []
        self._begin()
        events = subject.native.meta.events
        events.register("provide-client-params.dynamodb.*", self._asked)
        events.register("before-send.dynamodb.*", self._sent)
        events.register_first("before-parse.dynamodb.*", self._received)
        events.register("after-call.dynamodb.*", self._answered)

    async def cost(self, call: Call) -> Cost:
        self._begin()
        await finished(call())
        self._cost["WCU"] += sum(map(self._transaction_units, self._transactions))
        return self._cost

    def _begin(self) -> None:
        self._cost: Cost = dict.fromkeys(("requests", "KB", "RCU", "WCU"), 0)
        self._transactions.clear()

    def _asked(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        if model.name == "TransactWriteItems":
            self._transactions += [action for entry in params["TransactItems"] for action in entry.values()]
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _sent(self, request: Any, **_: Any) -> None:
        self._cost["requests"] += 1
        self._cost["KB"] += len(request.body) / 1024

    def _received(self, response_dict: dict[str, Any], **_: Any) -> None:
        self._cost["KB"] += len(response_dict["body"]) / 1024

    def _answered(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity") or []
        units = sum(entry["CapacityUnits"] for entry in (consumed if isinstance(consumed, list) else [consumed]))
        if model.name in ("GetItem", "BatchGetItem", "Query"):
            self._cost["RCU"] += units
        elif model.name == "BatchWriteItem":
            self._cost["WCU"] += units / 2
        elif model.name != "TransactWriteItems":
            self._cost["WCU"] += units

    def _transaction_units(self, action: dict[str, Any]) -> float:
        """Twice the whole kilobytes of the item; one that is gone was a small one."""
        item = action.get("Item") or self._other.get_item(TableName=TABLE, Key=action["Key"]).get("Item", {})
        return 2 * max(1, math.ceil(item_size(item) / 1024))
