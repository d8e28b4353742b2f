"""Stores under test: opened in either mode, watched by a meter, on a clock that a test can move."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import boto3

from session_continuity import Message, Mode, Role, Session, run_now
from session_continuity.ids import MessageIds, new_session_id
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.values import item_size

from .engines import REGION, Engine
from .meter import Meter, Request

R = TypeVar("R")

_numbers = itertools.count()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        # Ahead of the true time: an engine with expiry must not meet a session whose `ttl` has passed.
        self.now = datetime(2036, 3, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Bench:
    """One test's stores on one engine, in a namespace of its own."""

    def __init__(self, engine: Engine, mode: Mode, table: str) -> None:
        self.engine = engine
        self.mode: Mode = mode
        self.table = table
        self.namespace = f"test-{next(_numbers)}"
        self.clock = Clock()
        self.ids = MessageIds(self.clock)
        self.meter = Meter()
        self._runner = asyncio.Runner() if mode == "async" else None
        self._client: Any = boto3.client("dynamodb", endpoint_url=engine.url, region_name=REGION)
        self._opened: list[DynamoDBStorage] = []

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return self._runner.run(coroutine) if self._runner else run_now(coroutine)

    def together(self, *calls: Callable[[], Coroutine[Any, Any, R]]) -> list[R | BaseException]:
        """The outcomes of calls made at once: as tasks, or in threads."""
        if self._runner:

            async def all_of_them() -> list[R | BaseException]:
                return await asyncio.gather(*(call() for call in calls), return_exceptions=True)

            return self._runner.run(all_of_them())
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(run_now, call()) for call in calls]
        return [future.exception() or future.result() for future in futures]

    def open(self, **options: Any) -> DynamoDBStorage:
        """Another store of this test, set up, with its client watched."""
        stated = {"table": self.table, "namespace": self.namespace, **self.engine.options, **options}
        store = DynamoDBStorage(mode=self.mode, **stated)
        self._opened.append(store)
        store.clock = self.clock
        self.run(store.setup())
        if store.native is None:
            self.run(store.get_session("nobody"))
        self.meter.watch(store.native)
        return store

    def raw(self, api: str, **params: Any) -> dict[str, Any]:
        """A request past the stores, with a client of its own."""
        found: dict[str, Any] = getattr(self._client, api)(TableName=self.table, **params)
        return found

    def rows(self, session_id: str) -> list[dict[str, Any]]:
        """Everything that lies in a session's partition, page after page."""
        partition = {":p": {"S": f"{self.prefix}SESSION#{session_id}"}}
        asked: dict[str, Any] = {"KeyConditionExpression": "PK = :p", "ExpressionAttributeValues": partition}
        found: list[dict[str, Any]] = []
        while True:
            answer = self.raw("query", ConsistentRead=True, **asked)
            found += answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return found
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def transaction_units(self, request: Request) -> int:
        """What a transaction costs by the service's published rule, twice the whole kilobytes of each item; the
        engine's own figure is the same for any transaction."""
        units = 0
        for action in request.params["TransactItems"]:
            [params] = action.values()
            item = params.get("Item") or self.raw("get_item", Key=params["Key"], ConsistentRead=True)["Item"]
            units += 2 * -(-item_size(item) // 1024)
        return units

    @property
    def prefix(self) -> str:
        return f"NS#{self.namespace}#" if self.namespace else ""

    def session(self, **fields: Any) -> Session:
        now = self.clock()
        return Session(**{"id": new_session_id(now), "created_at": now, "last_activity_at": now, **fields})

    def create(self, store: DynamoDBStorage, **fields: Any) -> Session:
        return self.run(store.create_session(self.session(**fields)))

    def message(
        self, session: Session | str, content: Any = "hello", role: Role = "user", *, tokens: int = 3, **fields: Any
    ) -> Message:
        message_id, created_at = self.ids.mint()
        session_id = session if isinstance(session, str) else session.id
        stated = {"id": message_id, "created_at": created_at, "token_count": tokens, **fields}
        return Message(session_id=session_id, role=role, content=content, **stated)

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Rows as another writer leaves them, past the stores."""
        for start in range(0, len(rows), 25):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
            self._client.batch_write_item(RequestItems={self.table: puts})

    def append(self, store: DynamoDBStorage, session: Session, count: int = 1, **fields: Any) -> list[Message]:
        """Messages appended one by one."""
        return [
            self.run(store.append_messages(session.id, [self.message(session, f"message {i}", **fields)])).messages[0]
            for i in range(count)
        ]

    def close(self) -> None:
        for store in self._opened:
            self.run(store.close())
        self._client.close()
        if self._runner:
            self._runner.close()
