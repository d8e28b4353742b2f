"""The DynamoDB store compared with boto3 by hand, on DynamoDB Local or a server whose URL is given.

Requests, bytes and capacity units are counted too. Units follow the service's published rules: for reads as DynamoDB
Local reports them, for batches half of what it reports, because it doubles them, and for transactions computed from the
sizes of the items, because what it reports is wrong.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from typing import Any, get_args
from urllib.parse import urlencode

import boto3
import botocore
from tests.kit.dynamodb_engines import IDENTITY, REGION, run_engine
from tests.kit.dynamodb_meter import transaction_units

from benchmarks.measure import Call, Comparison, Cost, finish
from benchmarks.proxy import delayed
from benchmarks.setup import Setup
from benchmarks.subjects.dynamodb import FieldsLine, JsonLine
from benchmarks.subjects.store import StoreSubject, open_subjects
from benchmarks.subjects.subject import Subject
from session_continuity import Message, Mode, format_timestamp
from session_continuity_dynamodb.items.keys import COUNTERS, MESSAGE, Keys
from session_continuity_dynamodb.items.message_codec import message_item
from session_continuity_dynamodb.items.places import place_of

TABLE = "benchmark"
BATCH = 25


@asynccontextmanager
async def open_comparisons(setup: Setup) -> AsyncIterator[list[Comparison]]:
    os.environ |= IDENTITY
    with _endpoint(setup.url) as server, delayed(server, setup.latency) as at:
        async with AsyncExitStack() as opened:
            clients = [
                opened.enter_context(closing(boto3.client("dynamodb", endpoint_url=to, region_name=REGION)))
                for to in (at, at, server)
            ]
            other = clients[-1]
            filler = _Filler(other)
            subjects: list[Subject] = [JsonLine(clients[0], TABLE), FieldsLine(clients[1], TABLE)]
            for mode in get_args(Mode):
                subjects += await open_subjects(opened, lambda name: _url(at, name), mode, filler.write)
            line = f"one JSON text for each message, read by orjson, botocore {botocore.__version__}"
            yield [Comparison("dynamodb", line, subjects, lambda subject: _Meter(subject, other))]


@contextmanager
def _endpoint(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with run_engine("local") as engine:
        yield engine.url


def _url(endpoint: str, namespace: str) -> str:
    """Reads are eventually consistent, as those of the lines are."""
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
    """Writes rows into the table as the store would write them. DynamoDB Local accepts no large batches."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def write(self, subject: StoreSubject, messages: list[Message]) -> list[Message]:
        keys = Keys(subject.name)
        partition = keys.partition(messages[0].session_id)
        rows = [
            message_item(partition, place_of(message), message, own_id=False, compression=None) for message in messages
        ]
        for start in range(0, len(rows), BATCH):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + BATCH]]
            self._client.batch_write_item(RequestItems={TABLE: puts})
        self._client.update_item(
            TableName=TABLE,
            Key={"PK": rows[0]["PK"], "SK": {"S": COUNTERS}},
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
    """Counts what a subject's client sends and receives during a call. Another client asks for the sizes of items."""

    def __init__(self, subject: Any, other: Any) -> None:
        self._other = other
        self._transactions: list[dict[str, Any]] = []
        self._begin()
        events = subject.native.meta.events
        events.register("provide-client-params.dynamodb.*", self._before_call)
        events.register("before-send.dynamodb.*", self._before_send)
        events.register_first("before-parse.dynamodb.*", self._after_receive)
        events.register("after-call.dynamodb.*", self._after_call)

    async def cost(self, call: Call) -> Cost:
        self._begin()
        await finish(call())
        self._cost["WCU"] += sum(transaction_units(params, self._read) for params in self._transactions)
        return self._cost

    def _begin(self) -> None:
        self._cost: Cost = dict.fromkeys(("requests", "KB", "RCU", "WCU"), 0)
        self._transactions.clear()

    def _before_call(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        if model.name == "TransactWriteItems":
            self._transactions.append(params)
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _before_send(self, request: Any, **_: Any) -> None:
        self._cost["requests"] += 1
        self._cost["KB"] += len(request.body) / 1024

    def _after_receive(self, response_dict: dict[str, Any], **_: Any) -> None:
        self._cost["KB"] += len(response_dict["body"]) / 1024

    def _after_call(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity") or []
        units = sum(entry["CapacityUnits"] for entry in (consumed if isinstance(consumed, list) else [consumed]))
        if model.name in ("GetItem", "BatchGetItem", "Query"):
            self._cost["RCU"] += units
        elif model.name == "BatchWriteItem":
            self._cost["WCU"] += units / 2
        elif model.name != "TransactWriteItems":
            self._cost["WCU"] += units

    def _read(self, key: dict[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = self._other.get_item(TableName=TABLE, Key=key).get("Item", {})
        return item
