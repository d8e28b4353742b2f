"""`python -m benchmarks.dynamodb_bench [ENDPOINT] [--sizes 10,100,1000,10000] [--rounds 5] [--latency MS]`: the
DynamoDB store against boto3 by hand, on one server, interleaved in one run. Without an endpoint it starts DynamoDB
Local. With a latency every answer is late by so much, as from a server that is elsewhere and serves many at once.

Requests, bytes and capacity units are counted in one call of each operation, client CPU and wall time are measured in
others, without counting. Units are those of the service's published rules: DynamoDB Local's own figures for reads, half
of its figures for batches, which it doubles, and the sizes of the items for transactions, where its figures are wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import boto3
import botocore
from tests.dynamodb.engines import REGION, running

from benchmarks.conversation import texts
from benchmarks.lines.dynamodb import DynamoDBLine
from benchmarks.measure import OPERATIONS, operations, without_collector
from benchmarks.relay import relayed
from benchmarks.subject import USER, ManagerSubject, StoreSubject, Subject
from session_continuity import Message, Session, Storage, format_timestamp
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.bodies import message_item
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.table import definition
from session_continuity_dynamodb.values import item_size

TABLE = "benchmark"
GOALS = {"append": ("cpu", 1.3), "last 20": ("cpu", 0.8), "all": ("cpu", 0.5), "delete": ("wall", 0.4)}
SECONDS_A_SAMPLE = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.dynamodb_bench", description=__doc__)
    parser.add_argument("endpoint", nargs="?")
    parser.add_argument("--sizes", type=_numbers, default=[10, 100, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0, metavar="MS")
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    print(f"Python {platform.python_version()}, botocore {botocore.__version__}, {platform.machine()}")
    if arguments.latency:
        print(f"every answer is late by {arguments.latency:g} ms")
    print("in brackets: the ratio to boto3 by hand, the median of the rounds")
    for size in arguments.sizes:
        with _endpoint(arguments.endpoint) as server, _network(server, arguments.latency) as url:
            _report(size, *_measured(url, size, arguments.rounds))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


@contextmanager
def _endpoint(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with running("local") as engine:
        yield engine.url


@contextmanager
def _network(url: str, latency: float) -> Iterator[str]:
    if latency:
        with relayed(url, latency) as address:
            yield address
    else:
        yield url


class _Filler:
    """Fills sessions of the store with rows written straight into the table, as the store would write them: DynamoDB
    Local takes no large turns."""

    def __init__(self, client: Any, storage: Storage, namespace: str) -> None:
        self._client = client
        self._storage = storage
        self._keys = Keys(namespace)

    def create(self, session: str) -> None:
        now = self._storage.adapter.clock()
        self._storage.create_session(
            Session.model_validate(
                {
                    "id": session,
                    "user_id": USER,
                    "created_at": now,
                    "last_activity_at": now,
                    "metadata": {"title": "Benchmark"},
                }
            )
        )

    def write(self, messages: list[Message]) -> None:
        rows = [message_item(self._keys, message, own_id=False, compression=None) for message in messages]
        for start in range(0, len(rows), 25):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
            self._client.batch_write_item(RequestItems={TABLE: puts})
        self._client.update_item(
            TableName=TABLE,
            Key={"PK": rows[0]["PK"], "SK": {"S": "MSG$ACTIVITY"}},
            UpdateExpression="SET lastKey = :last, lastActivityAt = :at, messageCount = :count, tokenCount = :tokens",
            ExpressionAttributeValues={
                ":last": {"S": rows[-1]["SK"]["S"][4:]},
                ":at": {"S": format_timestamp(messages[-1].created_at)},
                ":count": {"N": str(len(rows))},
                ":tokens": {"N": str(sum(message.token_count or 0 for message in messages))},
            },
        )


class _Store(StoreSubject):
    def __init__(self, name: str, storage: Storage, client: Any, namespace: str) -> None:
        super().__init__(storage)
        self.name = name
        self._filler = _Filler(client, storage, namespace)

    def fill(self, session: str, messages: int) -> None:
        self._filler.create(session)
        if messages:
            stored = [self._message(session, role, text) for role, text in islice(texts(), messages)]
            self._filler.write(stored)
            self._middle[session] = stored[messages // 2].id


class _Manager(ManagerSubject):
    def __init__(self, storage: Storage, client: Any, namespace: str) -> None:
        super().__init__(storage)
        self._store = _Store("filling", storage, client, namespace)
        self._middle = self._store._middle

    def fill(self, session: str, messages: int) -> None:
        self._store.fill(session, messages)


def _subjects(url: str) -> list[tuple[Subject, Any]]:
    """Each subject with its AWS client, the limit line first. Reads are eventually consistent, as the line's are."""
    _client(url).create_table(**definition(TABLE))
    line = DynamoDBLine(_client(url), TABLE)
    filler = _client(url)
    found: list[tuple[Subject, Any]] = [(line, line.native)]
    for name in ("store", "async", "manager"):
        adapter = DynamoDBStorage(
            table=TABLE,
            endpoint_url=url,
            region=REGION,
            namespace=name,
            consistent_read=False,
            transaction_items=10,
            mode="async" if name == "async" else "blocking",
        )
        storage = _Looped(adapter) if name == "async" else Storage(adapter)
        storage.get_session("nobody")
        subject = _Manager(storage, filler, name) if name == "manager" else _Store(name, storage, filler, name)
        found.append((subject, adapter.native))
    return found


class _Looped(Storage):
    """The async store in a loop of this thread: what a portal would add is not the store's."""

    def __init__(self, adapter: DynamoDBStorage) -> None:
        self.adapter = adapter
        self._loop = asyncio.new_event_loop()
        self._runner = self._loop.run_until_complete
        self._portal = None

    def close(self) -> None:
        super().close()
        self._loop.close()


def _client(url: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=url, region_name=REGION)


@dataclass
class Sample:
    cpu: float
    wall: float


@dataclass
class Cost:
    """What one call asked of the service."""

    requests: int = 0
    sent: int = 0
    received: int = 0
    read: float = 0
    written: float = 0


Key = tuple[str, str]


def _measured(url: str, size: int, rounds: int) -> tuple[dict[Key, Cost], dict[Key, list[Sample]]]:
    subjects = _subjects(url)
    costs: dict[Key, Cost] = {}
    samples: dict[Key, list[Sample]] = {}
    for subject, _ in subjects:
        for number in range(100):
            subject.fill(f"listed-{number}", 0)
        for session in ("main", "growing", "counted"):
            subject.fill(session, size)
    for turn in range(rounds):
        for subject, _ in subjects if turn % 2 == 0 else reversed(subjects):
            subject.fill(doomed := f"doomed-{turn}", size)
            for operation, call in operations(subject, doomed).items():
                sample = _timed(call, once=operation == "delete")
                samples.setdefault((subject.name, operation), []).append(sample)
    for subject, client in subjects:
        meter = _Meter(client, _client(url))
        for operation, call in operations(subject, "counted").items():
            costs[subject.name, operation] = meter.cost(call)
        subject.close()
    return costs, samples


def _timed(call: Callable[[], object], *, once: bool) -> Sample:
    if not once:
        call()
    with without_collector():
        count = 0
        started, cpu = time.perf_counter(), time.process_time()
        while count == 0 or (not once and time.perf_counter() - started < SECONDS_A_SAMPLE):
            call()
            count += 1
        spent, passed = time.process_time() - cpu, time.perf_counter() - started
    return Sample(spent / count * 1e3, passed / count * 1e3)


class _Meter:
    """Counts what a client sends and receives during a call."""

    def __init__(self, client: Any, other: Any) -> None:
        self._other = other
        self._cost = Cost()
        self._transactions: list[dict[str, Any]] = []
        client.meta.events.register("provide-client-params.dynamodb.*", self._asked)
        client.meta.events.register("before-send.dynamodb.*", self._sent)
        client.meta.events.register_first("before-parse.dynamodb.*", self._received)
        client.meta.events.register("after-call.dynamodb.*", self._answered)

    def cost(self, call: Callable[[], object]) -> Cost:
        self._cost, self._transactions = Cost(), []
        call()
        self._cost.written += sum(map(self._transaction_units, self._transactions))
        return self._cost

    def _asked(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        if model.name == "TransactWriteItems":
            self._transactions += [action for entry in params["TransactItems"] for action in entry.values()]
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _sent(self, request: Any, **_: Any) -> None:
        self._cost.requests += 1
        self._cost.sent += len(request.body)

    def _received(self, response_dict: dict[str, Any], **_: Any) -> None:
        self._cost.received += len(response_dict["body"])

    def _answered(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity") or []
        units = sum(entry["CapacityUnits"] for entry in (consumed if isinstance(consumed, list) else [consumed]))
        if model.name in ("GetItem", "BatchGetItem", "Query"):
            self._cost.read += units
        elif model.name == "BatchWriteItem":
            self._cost.written += units / 2
        elif model.name != "TransactWriteItems":
            self._cost.written += units

    def _transaction_units(self, action: dict[str, Any]) -> float:
        """Twice the whole kilobytes of the item; one that is gone was a small one."""
        item = action.get("Item") or self._other.get_item(TableName=TABLE, Key=action["Key"]).get("Item", {})
        return 2 * max(1, math.ceil(item_size(item) / 1024))


def _report(size: int, costs: dict[Key, Cost], samples: dict[Key, list[Sample]]) -> None:
    print(f"\nN = {size}")
    print(f"{'':18}{'requests':>9}{'KB':>9}{'RCU':>8}{'WCU':>8}{'CPU ms':>18}{'wall ms':>18}")
    line = next(iter(costs))[0]
    for (name, operation), cost in sorted(costs.items(), key=lambda entry: OPERATIONS.index(entry[0][1])):
        cells = [_cell(samples[name, operation], samples[line, operation], kind) for kind in ("cpu", "wall")]
        kilobytes = (cost.sent + cost.received) / 1024
        goal = GOALS.get(operation)
        told = "" if goal is None or name == line else f"   goal: {goal[0]} ≤ {goal[1]:g}"
        print(
            f"{operation:10}{name:8}{cost.requests:9}{kilobytes:9.1f}{cost.read:8.1f}{cost.written:8.0f}"
            f"{cells[0]:>18}{cells[1]:>18}{told}"
        )


def _cell(mine: list[Sample], line: list[Sample], kind: str) -> str:
    value = statistics.median(getattr(sample, kind) for sample in mine)
    ratio = statistics.median(getattr(a, kind) / getattr(b, kind) for a, b in zip(mine, line, strict=True))
    return f"{value:.2f} ({ratio:.2f})"


if __name__ == "__main__":
    main()
