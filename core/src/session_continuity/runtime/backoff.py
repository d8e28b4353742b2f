"""The one retry policy: exponential backoff with full jitter, until a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Self

__all__ = ["backoff", "retry_delays"]

FIRST = 0.005
LONGEST = 0.5
MIN_ATTEMPTS = 3

_MOST_DOUBLINGS = 30


def backoff(
    sleep: Callable[[float], Awaitable[None]],
    *,
    deadline: float,
    first: float = FIRST,
    longest: float = LONGEST,
    min_attempts: int = MIN_ATTEMPTS,
) -> AsyncIterator[int]:
    """Yield the number of each attempt, from 1, and sleep between attempts.

        async for attempt in backoff(sleeper(mode), deadline=10):
            try:
                return await write()
            except ConflictError as conflict:
                lost = conflict
        raise lost

    `deadline`, `first` and `longest` are seconds. Before the second attempt it sleeps a random time between 0 and
    `first`; the upper bound doubles with every attempt, up to `longest`. Random times keep several writers that failed
    together from meeting again.

    The loop ends when the next attempt would start later than `deadline` seconds after this call. The time that an
    attempt takes is not cut short. `min_attempts` are made however long each takes: on a slow or busy machine a single
    attempt may outlast the deadline, which is not a reason to report that the others were faster.
    """
    return _Attempts(sleep, retry_delays(deadline=deadline, first=first, longest=longest, min_attempts=min_attempts))


def retry_delays(
    *, deadline: float, first: float = FIRST, longest: float = LONGEST, min_attempts: int = MIN_ATTEMPTS
) -> Iterator[float]:
    """The pauses of `backoff` in seconds, one after each attempt but the last, for code that is not a coroutine."""
    return _Delays(time.monotonic() + deadline, first, longest, min_attempts)


class _Delays:
    """An iterator and not a generator: a generator that is left early runs once more when it is collected, and Python
    drops what a signal handler raises then."""

    def __init__(self, end: float, first: float, longest: float, min_attempts: int) -> None:
        self._end = end
        self._first = first
        self._longest = longest
        self._min_attempts = min_attempts
        self._attempts = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> float:
        longest = min(self._longest, self._first * 2 ** min(self._attempts, _MOST_DOUBLINGS))
        delay = random.uniform(0, longest)
        self._attempts += 1
        if self._attempts >= self._min_attempts and time.monotonic() + delay > self._end:
            raise StopIteration
        return delay


class _Attempts:
    """An iterator and not an async generator: a loop over a generator that is left early would leave it to the event
    loop to close, and blocking mode has no loop."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]], delays: Iterator[float]) -> None:
        self._sleep = sleep
        self._delays = delays
        self._attempt = 0

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if self._attempt:
            delay = next(self._delays, None)
            if delay is None:
                raise StopAsyncIteration
            await self._sleep(delay)
        self._attempt += 1
        return self._attempt
