"""Sending requests to one table, and repeating those that may succeed a moment later.

The SDK repeats a request when the connection or the service fails. What is left is done here: transactions that
conflict, and throttling that lasts longer than the SDK's attempts. Pauses are random and grow (full jitter).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Self, TypeVar

from botocore.exceptions import ClientError

from session_continuity import Mode, backoff, gather, retry_delays, sleeper
from session_continuity_dynamodb.config import DynamoDBOptions
from session_continuity_dynamodb.requests.client import Client
from session_continuity_dynamodb.requests.errors import failed_condition, may_pass

T = TypeVar("T")
U = TypeVar("U")

_IN_FLIGHT = 8
_FIRST_PAUSE = 0.025
_LONGEST_PAUSE = 1.0

_WRITE_ATTEMPTS = 4
"""Attempts at a write that do not depend on the time. Wrong assumptions make it fail once, or without transactions once
for each of its items, three at most. Only later attempts fail because of other writers."""


class Sender:
    """Sends requests to one table. `atomic` is whether writes of several items are transactions. `consistent` is
    whether reads are strongly consistent unless they say otherwise."""

    def __init__(
        self, client: Client, table: str, *, mode: Mode, deadline: float, atomic: bool, consistent: bool
    ) -> None:
        self.table = table
        self.mode: Mode = mode
        self.atomic = atomic
        self.consistent = consistent
        self._client = client
        self._deadline = deadline
        self._sleep = sleeper(mode)

    @classmethod
    def from_options(cls, client: Client, options: DynamoDBOptions, mode: Mode) -> Self:
        """The sender with these options."""
        return cls(
            client,
            options.table,
            mode=mode,
            deadline=options.retry_deadline,
            atomic=options.append == "atomic",
            consistent=options.consistent_read,
        )

    async def close(self) -> None:
        """Close the client, if it was opened here."""
        await self._client.close()

    async def call(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the response. Waits while the table is throttled or a transaction conflicts.

        Raises ConditionFailedError, CancelledTransactionError, or an error of botocore.
        """
        delays: Iterator[float] | None = None
        while True:
            try:
                return await self._client.invoke(api, params)
            except ClientError as error:
                if (failed := failed_condition(error)) is not None:
                    raise failed from error
                delays = delays or retry_delays(deadline=self._deadline, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
                delay = next(delays, None) if may_pass(error) else None
                if delay is None:
                    raise
            await self._sleep(delay)

    async def request(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """`call` with the name of the table."""
        return await self.call(api, {"TableName": self.table, **params})

    def pauses(self) -> AsyncIterator[int]:
        """Attempts with growing pauses between them, until the retry deadline."""
        return backoff(self._sleep, deadline=self._deadline, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)

    def attempts(self) -> AsyncIterator[int]:
        """Attempts at a conditional write that starts from wrong assumptions or competes with other writers.

        There are no pauses. A condition fails only because another write succeeded, so repeating at once is useful for
        somebody; writes that block each other fail as conflicts, which `call` waits for. At the end of its loop the
        caller raises `contention`.
        """
        return backoff(self._sleep, deadline=self._deadline, first=0, longest=0, min_attempts=_WRITE_ATTEMPTS)

    async def gather(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """The results of these calls in their order. Up to eight run at the same time."""
        return await gather(self.mode, calls, limit=_IN_FLIGHT)

    async def both(
        self, first: Callable[[], Coroutine[Any, Any, T]], second: Callable[[], Coroutine[Any, Any, U]]
    ) -> tuple[T, U]:
        """The results of two calls that run at the same time."""
        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [first, second]
        one, other = await self.gather(calls)
        return one, other
