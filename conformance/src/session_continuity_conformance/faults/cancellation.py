"""Calls that are cancelled at a chosen moment. Only this module, `concurrency.loops` and `drivers` use event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from session_continuity import StorageAdapter
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.faults.writes import WRITES, Maker, Write
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

T = TypeVar("T")
Call = Coroutine[Any, Any, object]
Read = Callable[[StorageAdapter], Call]

MOST_WAITS = 500
PATIENCE = 30.0
"""The seconds after which a call counts as hanging."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a cancellation: when the call waits for the n-th time. With `late`, it comes when the result of
    that wait is there, but not yet received."""

    wait: int
    late: bool

    def __str__(self) -> str:
        return f"cancelled at wait {self.wait}{', when its answer was there' if self.late else ''}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call that was to be cancelled. `reached` says whether it waited often enough, `error` is what it
    raised."""

    reached: bool
    error: BaseException | None

    @property
    def cancelled(self) -> bool:
        """Whether the call raised the cancellation."""
        return isinstance(self.error, asyncio.CancelledError)


class _Interrupted(Generic[T]):
    """Awaits a coroutine, and cancels the task that awaits it at a moment."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], moment: Moment) -> None:
        self._coroutine = coroutine
        self._moment = moment
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, T]:
        step = partial(self._coroutine.send, None)
        while True:
            try:
                awaited = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            self.waits += 1
            if self.waits == self._moment.wait:
                self._cancel(awaited)
            try:
                sent = yield awaited
            except BaseException as error:
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)

    def _cancel(self, awaited: Any) -> None:
        """Cancel the task. A bare yield waits for nothing that could be late."""
        task = asyncio.current_task()
        assert task is not None
        if self._moment.late and awaited is not None:
            awaited.add_done_callback(partial(_cancel_then, task))
        else:
            task.cancel()


def _cancel_then(task: asyncio.Task[Any], _: object) -> None:
    task.cancel()


async def interrupt(call: Call, moment: Moment) -> Outcome:
    """Make a call in a task that is cancelled at a moment, and wait for its end."""
    interrupted = _Interrupted(call, moment)

    async def run() -> object:
        return await interrupted

    task = asyncio.ensure_future(run())
    await asyncio.wait([task], timeout=PATIENCE)
    if not task.done():
        raise ViolationError(str(moment), expected=f"the call ends within {PATIENCE:.0f} s", observed="it goes on")
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    return Outcome(interrupted.waits >= moment.wait, error)


async def in_time(call: Coroutine[Any, Any, T], what: str) -> T:
    """The result of a call that must not hang."""
    try:
        return await asyncio.wait_for(call, PATIENCE)
    except TimeoutError:
        raise ViolationError(what, expected=f"an answer within {PATIENCE:.0f} s", observed="none") from None


def require_tasks(store: StoreFixture) -> None:
    """Raise NotApplicableError unless the example runs in a task."""
    if store.driver.name != "async":
        raise NotApplicableError("only the tasks of an event loop can be cancelled")


async def cancelled_writes(store: StoreFixture) -> AsyncIterator[tuple[Write, Moment, Outcome]]:
    """Each kind of write, cancelled at its first wait, at its second and so on, each time on a new session.

    Raises NotApplicableError where no write ever waits.
    """
    reached = False
    for make in WRITES.values():
        async for write, moment, outcome in _cancelled(partial(_begun, store, make)):
            reached = True
            yield write, moment, outcome
    if not reached:
        raise NotApplicableError("no call of this store ever waits, so that none can be cancelled")


async def cancelled_reads(store: StoreFixture, reads: Mapping[str, Read]) -> AsyncIterator[tuple[str, Outcome]]:
    """Each of these reads, cancelled at its first wait, at its second and so on.

    Raises NotApplicableError where no read ever waits.
    """
    reached = False
    for name, read in reads.items():
        async for what, moment, outcome in _cancelled(partial(_asked, store, name, read)):
            reached = True
            yield f"{what} {moment}", outcome
    if not reached:
        raise NotApplicableError("no call of this store ever waits, so that none can be cancelled")


async def _begun(store: StoreFixture, make: Maker) -> tuple[Write, Call]:
    write = await make(store)
    return write, write.send(store.adapter)


async def _asked(store: StoreFixture, name: str, read: Read) -> tuple[str, Call]:
    return name, read(store.adapter)


async def _cancelled(begin: Callable[[], Awaitable[tuple[T, Call]]]) -> AsyncIterator[tuple[T, Moment, Outcome]]:
    for late in (False, True):
        for wait in range(1, MOST_WAITS):
            begun, call = await begin()
            moment = Moment(wait, late)
            outcome = await interrupt(call, moment)
            if not outcome.reached:
                break
            yield begun, moment, outcome
        else:
            raise ViolationError("waits of one call", expected=f"fewer than {MOST_WAITS}", observed="more")


async def cancel_many(adapter: StorageAdapter, read: Read, times: int) -> None:
    """Make calls of one kind until so many were cancelled, at each of their waits in turn.

    Raises NotApplicableError where the call never waits.
    """
    cancelled, wait = 0, 1
    while cancelled < times:
        outcome = await interrupt(read(adapter), Moment(wait, late=bool(cancelled % 2)))
        if outcome.error is not None and not outcome.cancelled:
            raise outcome.error
        if not outcome.reached and wait == 1:
            raise NotApplicableError("no call of this store ever waits, so that none can be cancelled")
        cancelled += outcome.reached
        wait = wait + 1 if outcome.reached else 1


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks of the running loop."""
    return asyncio.all_tasks()


async def check_tasks_end(adapter: StorageAdapter, before: set[asyncio.Task[Any]]) -> None:
    """Close the adapter, and check that no task still runs that was not there before."""
    await in_time(adapter.close(), "close after cancelled calls")
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=1.0)
    names = sorted(str(task.get_coro()) for task in left if not task.done())
    if names:
        raise ViolationError("tasks after close, when calls were cancelled", expected="none", observed=", ".join(names))
