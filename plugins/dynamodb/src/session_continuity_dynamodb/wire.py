"""Requests: how they are tried again, batched and made atomic. Knows no sessions.

The SDK tries a request again when the connection or the service fails; what it leaves to us is here: transactions
that conflict, items that a batch left unprocessed, throttling that lasts. Every pause is random up to a growing bound
(full jitter), and all of them end at a deadline.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from session_continuity import Mode, ThrottledError, gather, sleeper
from session_continuity_dynamodb.clients import Client
from session_continuity_dynamodb.errors import (
    BACKEND,
    CancelledTransactionError,
    ConditionFailedError,
    Reason,
    condition_of,
    may_pass,
)
from session_continuity_dynamodb.values import Item

T = TypeVar("T")
U = TypeVar("U")

Action = dict[str, dict[str, Any]]
"""One action of a transaction, for example `{"Put": {"Item": …}}`; the table is filled in here."""

WRITE_BATCH = 25
READ_BATCH = 100
IN_FLIGHT = 8
"""Batches that are on their way at once."""

_FIRST_PAUSE = 0.025
_LONGEST_PAUSE = 1.0
_SINGLE = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}


def new_write_id() -> str:
    return uuid.uuid4().hex


class Wire:
    """Requests to one table. `atomic` says whether transactions are used; without them actions follow one another."""

    def __init__(
        self, client: Client, table: str, *, mode: Mode, deadline: float, atomic: bool, consistent: bool
    ) -> None:
        self.table = table
        self.mode: Mode = mode
        self.consistent = consistent
        self.atomic = atomic
        self._client = client
        self._deadline = deadline
        self._sleep = sleeper(mode)

    async def close(self) -> None:
        await self._client.close()

    async def call(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request; conflicts and throttling are waited out.

        Raises ConditionFailedError, CancelledTransactionError, or a raw error.
        """
        pauses = self._pauses()
        while True:
            try:
                return await self._client.invoke(api, params)
            except ClientError as error:
                failed = condition_of(error)
                if failed is not None:
                    raise failed from error
                pause = next(pauses, None) if may_pass(error) else None
                if pause is None:
                    raise
            await self._sleep(pause)

    async def request(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """`call` on this table."""
        return await self.call(api, {"TableName": self.table, **params})

    async def get(self, key: Item, *, consistent: bool | None = None) -> Item | None:
        """One item, or None."""
        strong = self.consistent if consistent is None else consistent
        answer = await self.request("GetItem", {"Key": key, "ConsistentRead": strong})
        return answer.get("Item") or None

    async def get_all(self, wanted: Sequence[Item], *, consistent: bool | None = None) -> list[Item]:
        """Those items that exist, in no order; up to 100 in one request."""
        strong = self.consistent if consistent is None else consistent
        batches = [wanted[start : start + READ_BATCH] for start in range(0, len(wanted), READ_BATCH)]
        found = await self.gather([partial(self._get_batch, batch, strong) for batch in batches])
        return [item for items in found for item in items]

    async def _get_batch(self, batch: Sequence[Item], consistent: bool) -> list[Item]:
        wanted: Any = {self.table: {"Keys": list(batch), "ConsistentRead": consistent}}
        found: list[Item] = []
        pauses = self._pauses()
        while True:
            answer = await self.call("BatchGetItem", {"RequestItems": wanted})
            got: list[Item] = answer.get("Responses", {}).get(self.table, [])
            found += got
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
            # A batch over 16 MB comes in pieces: only one that brought nothing is a reason to wait.
            if not got:
                await self._pause_or_give_up(pauses, "get")

    async def delete_all(self, doomed: Iterable[Item]) -> None:
        """Delete the items under these keys, 25 in a request and several requests at once."""
        wanted = list(doomed)
        batches = [wanted[start : start + WRITE_BATCH] for start in range(0, len(wanted), WRITE_BATCH)]
        await self.gather([partial(self._delete_batch, batch) for batch in batches])

    async def _delete_batch(self, batch: list[Item]) -> None:
        left: Any = {self.table: [{"DeleteRequest": {"Key": key}} for key in batch]}
        pauses = self._pauses()
        while True:
            left = (await self.call("BatchWriteItem", {"RequestItems": left})).get("UnprocessedItems")
            if not left:
                return
            await self._pause_or_give_up(pauses, "delete")

    async def transact(self, actions: Sequence[Action], write_id: str, *, first: Sequence[Item] = ()) -> None:
        """All of these actions or none, once; `first` are items to put, before the actions where these follow one
        another. Raises CancelledTransactionError with the items that the conditions met, one reason for each action.

        An action's item that bears `write_id` already shows that this very write went through before.
        """
        puts: list[Action] = [{"Put": {"Item": item}} for item in first]
        try:
            if self.atomic:
                await self._transact([*puts, *actions], write_id)
            else:
                await self._one_by_one([*puts, *actions], write_id)
        except CancelledTransactionError as cancelled:
            if not any(_bears(reason.item, write_id) for reason in cancelled.reasons if reason.failed):
                del cancelled.reasons[: len(puts)]
                raise

    async def _transact(self, actions: Sequence[Action], write_id: str) -> None:
        items = [
            {kind: {"TableName": self.table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **params}}
            for action in actions
            for kind, params in action.items()
        ]
        await self.call("TransactWriteItems", {"TransactItems": items, "ClientRequestToken": write_id})

    async def _one_by_one(self, actions: Sequence[Action], write_id: str) -> None:
        """The actions in order; when a condition fails, what was put here before is taken back, unless a change that
        went through since may refer to it. An item that is there already as it should be stays: it may be another's,
        or this one's whose reply was lost."""
        made: list[Item] = []
        for index, action in enumerate(actions):
            [(kind, params)] = action.items()
            key: Item = params["Key"] if "Key" in params else {name: params["Item"][name] for name in ("PK", "SK")}
            try:
                await self.request(_SINGLE[kind], params)
                made = [*made, key] if kind == "Put" else []
            except ConditionFailedError as failed:
                found = failed.item or await self.get(key, consistent=True)
                if kind == "Delete" and found is None and failed.repeated:
                    continue
                if not _bears(found, write_id) and (kind != "Put" or found != params["Item"]):
                    await self.delete_all(made)
                    none = Reason()
                    raise CancelledTransactionError(
                        [*[none] * index, Reason(True, found), *[none] * (len(actions) - index - 1)]
                    ) from failed

    async def query(self, params: dict[str, Any], *, limit: int | None = None) -> tuple[list[Item], Item | None]:
        """One page of rows, and the key after which the next begins, None at the end."""
        bound = {} if limit is None else {"Limit": limit}
        answer = await self.request("Query", {**params, **bound})
        return answer.get("Items", []), answer.get("LastEvaluatedKey") or None

    async def gather(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """The results of these calls, in order, several of them under way at once."""
        return await gather(self.mode, calls, limit=IN_FLIGHT)

    async def both(
        self, first: Callable[[], Coroutine[Any, Any, T]], second: Callable[[], Coroutine[Any, Any, U]]
    ) -> tuple[T, U]:
        """The results of two calls that are under way at once."""
        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [first, second]
        one, other = await self.gather(calls)
        return one, other

    def tries(self, operation: str) -> Iterator[None]:
        """What a write that others keep getting in front of takes one of before each try. Raises ThrottledError when
        its time is over."""
        end = time.monotonic() + max(self._deadline, 1.0)
        while time.monotonic() < end:
            yield
        raise ThrottledError(
            "other writes to the same session kept getting in first",
            backend=BACKEND,
            operation=operation,
            table=self.table,
        )

    def _pauses(self) -> Iterator[float]:
        end = time.monotonic() + self._deadline
        bound = _FIRST_PAUSE
        while True:
            pause = random.uniform(0, bound)
            if time.monotonic() + pause > end:
                return
            yield pause
            bound = min(bound * 2, _LONGEST_PAUSE)

    async def _pause_or_give_up(self, pauses: Iterator[float], what: str) -> None:
        pause = next(pauses, None)
        if pause is None:
            raise ThrottledError(
                f"table {self.table!r} left items unprocessed", backend=BACKEND, operation=what, table=self.table
            )
        await self._sleep(pause)


def _bears(item: Item | None, write_id: str) -> bool:
    return item is not None and {"S": write_id} in (item.get("wid"), item.get("rev"))
