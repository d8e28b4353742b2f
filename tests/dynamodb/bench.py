"""A bench: the stores of one test on one engine, observed by a meter, on a clock that the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import boto3

from session_continuity import Message, Mode, Role, Session, StorageAdapter, innermost, portable
from session_continuity.ids import new_session_id
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.message_codec import Compression, message_item
from session_continuity_dynamodb.items.places import place_of
from session_continuity_dynamodb.items.values import Item

from ..kit.clocks import FUTURE, Clock
from ..kit.conversations import Speaker, new_session
from ..kit.dynamodb_engines import REGION, Engine
from ..kit.dynamodb_meter import Meter, Request, transaction_units
from ..kit.modes import ModeRunner

R = TypeVar("R")

TABLE = "conversations"
_numbers = itertools.count()


def item_of(keys: Keys, message: Message, *, own_id: bool, compression: Compression | None) -> Item:
    """The item that a store writes for a message."""
    place = place_of(message)
    return message_item(keys.partition(message.session_id), place, message, own_id=own_id, compression=compression)


def native_client(store: StorageAdapter) -> Any:
    """The AWS client of a store inside core's layer."""
    driver = innermost(store)
    assert isinstance(driver, DynamoDBStorage)
    return driver.native


class Bench:
    """Opens stores in one namespace of a table, and reads and writes the table's items directly."""

    def __init__(self, engine: Engine, mode: Mode) -> None:
        self.engine = engine
        self.mode: Mode = mode
        self.table = TABLE
        self.namespace = f"test-{next(_numbers)}"
        self.clock = Clock(FUTURE)
        self.meter = Meter()
        self._speaker = Speaker(clock=self.clock)
        self._runner = ModeRunner(mode)
        self._client: Any = boto3.client("dynamodb", endpoint_url=engine.url, region_name=REGION)
        self._opened: list[StorageAdapter] = []

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The result of a store's call."""
        return self._runner.run(coroutine)

    def run_together(self, *calls: Callable[[], Coroutine[Any, Any, R]]) -> list[R | BaseException]:
        """What the calls return or raise when they run at once: as tasks, or in threads."""
        return self._runner.run_together(*calls)

    def open(self, **options: Any) -> StorageAdapter:
        """Another store, set up, its requests recorded by `meter`."""
        stated = {"table": self.table, "namespace": self.namespace, **self.engine.options, **options}
        driver = DynamoDBStorage(mode=self.mode, **stated)
        store = portable(driver)
        self._opened.append(store)
        store.clock = self.clock
        self.run(store.setup())
        if driver.native is None:  # the first call creates the client
            self.run(store.get_session("nobody"))
        self.meter.watch(driver.native)
        return store

    def close(self) -> None:
        """Close the stores."""
        for store in self._opened:
            self.run(store.close())
        self._client.close()
        self._runner.close()

    def session(self, **fields: Any) -> Session:
        """A new session, not stored."""
        now = self.clock()
        return new_session(now=now, **{"id": new_session_id(now), **fields})

    def create(self, store: StorageAdapter, **fields: Any) -> Session:
        """A new session, as stored."""
        return self.run(store.create_session(self.session(**fields)))

    def message(
        self, session: Session | str, content: Any = "hello", role: Role = "user", *, tokens: int = 3, **fields: Any
    ) -> Message:
        """The next message, not stored."""
        session_id = session if isinstance(session, str) else session.id
        return self._speaker.says(content, session_id=session_id, role=role, **{"token_count": tokens, **fields})

    def append(self, store: StorageAdapter, session: Session, count: int = 1, **fields: Any) -> list[Message]:
        """Append so many messages one by one, and return them as stored."""
        return [
            self.run(store.append_messages(session.id, [self.message(session, f"message {i}", **fields)])).messages[0]
            for i in range(count)
        ]

    def talk(self, store: StorageAdapter, session: Session) -> list[Message]:
        """Append messages of every form, and return them: with chosen ids, system messages beyond those that the
        counters list, and one in parts."""
        chosen = [self.message(session, f"chosen {n}", id=f"m{n}") for n in range(4)]
        system = [self.message(session, f"rule {n}", "system") for n in range(10)]
        batches = [chosen, system[:5], system[5:], [self.message(session, "x" * 900_000)]]
        stored: list[Message] = []
        for batch in batches:
            own = [message.id for message in batch if message in chosen]
            stored += self.run(store.append_messages(session.id, batch, client_ids=own)).messages
        return stored

    @property
    def prefix(self) -> str:
        """How the partition keys of the namespace begin."""
        return f"NS#{self.namespace}#" if self.namespace else ""

    def raw(self, api: str, **params: Any) -> dict[str, Any]:
        """The answer to a request on the table that the meter does not record."""
        answer: dict[str, Any] = getattr(self._client, api)(TableName=self.table, **params)
        return answer

    def rows(self, session_id: str) -> list[dict[str, Any]]:
        """Every item in a session's partition."""
        partition = {":p": {"S": f"{self.prefix}SESSION#{session_id}"}}
        request: dict[str, Any] = {"KeyConditionExpression": "PK = :p", "ExpressionAttributeValues": partition}
        found: list[dict[str, Any]] = []
        while True:
            answer = self.raw("query", ConsistentRead=True, **request)
            found += answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Write items as another program would, without a store."""
        for start in range(0, len(rows), 25):
            puts = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
            self._client.batch_write_item(RequestItems={self.table: puts})

    def transaction_units(self, request: Request) -> int:
        """The capacity units of a transaction by the service's rule."""

        def read(key: dict[str, Any]) -> dict[str, Any]:
            item: dict[str, Any] = self.raw("get_item", Key=key, ConsistentRead=True)["Item"]
            return item

        return transaction_units(request.params, read)
