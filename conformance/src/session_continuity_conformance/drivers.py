"""The modes in which examples run: as tasks of an event loop, in the caller's stack, or through a portal.

Only this module, `concurrency.loops` and `faults.cancellation` use event loops. They set no policy and replace no
current loop, so those of a host project stay as they are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from session_continuity import ForwardingAdapter, Mode, Portal, StorageAdapter, as_async, run_now, sleeper
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.options import ModeName

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which an example counts as hanging."""

Work = Callable[[], Coroutine[Any, Any, T]]


class Driver(Protocol):
    """One way of running examples. `mode` is the mode in which it opens adapters. It bridges the other mode as core
    does."""

    name: ModeName
    mode: Mode

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an example to its end."""
        ...

    def bridge(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter in a form that this driver can call."""
        ...

    async def gather(self, *works: Work[T]) -> list[T | BaseException]:
        """Run several pieces of work at once, as tasks or in threads. Return results and errors in their order."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        ...

    async def yield_control(self) -> None:
        """Let concurrent work run, so that calls really mix."""
        ...

    def close(self) -> None:
        """Release loops and threads."""
        ...


class AsyncDriver:
    """Runs examples in an event loop, and concurrent work as tasks."""

    name: ModeName = "async"
    mode: Mode = "async"

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._crowded = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asyncio.wait_for(coroutine, PATIENCE))

    def bridge(self, adapter: StorageAdapter) -> StorageAdapter:
        return as_async(adapter)

    async def gather(self, *works: Work[T]) -> list[T | BaseException]:
        self._crowded = True
        outcomes = await asyncio.gather(*(work() for work in works), return_exceptions=True)
        self._crowded = False
        return outcomes

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def yield_control(self) -> None:
        if self._crowded:
            await asyncio.sleep(0)

    def close(self) -> None:
        self._runner.close()


class BlockingDriver:
    """Runs examples in the caller's stack, and concurrent work in threads. An awaitable that suspends is an error."""

    name: ModeName = "blocking"
    mode: Mode = "blocking"

    def __init__(self) -> None:
        self._crowded = False
        self._portal = Portal()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_now(coroutine)

    def bridge(self, adapter: StorageAdapter) -> StorageAdapter:
        return adapter if adapter.mode == "blocking" else _ThroughPortal(adapter, self._portal)

    async def gather(self, *works: Work[T]) -> list[T | BaseException]:
        self._crowded = True
        outcomes = in_threads(*works)
        self._crowded = False
        return outcomes

    async def sleep(self, seconds: float) -> None:
        await sleeper("blocking")(seconds)

    async def yield_control(self) -> None:
        if self._crowded:
            await sleeper("blocking")(0)

    def close(self) -> None:
        self._portal.close()


class PortalDriver(BlockingDriver):
    """Runs examples in the caller's stack, on an async adapter in a background event loop."""

    name: ModeName = "portal"
    mode: Mode = "async"

    def bridge(self, adapter: StorageAdapter) -> StorageAdapter:
        return _ThroughPortal(as_async(adapter), self._portal)


class _ThroughPortal(ForwardingAdapter):
    """An async adapter for blocking code: each call runs in the portal's event loop."""

    def __init__(self, inner: StorageAdapter, portal: Portal) -> None:
        super().__init__(inner)
        self._portal = portal

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._portal.run(asyncio.wait_for(method(*args, **kwargs), PATIENCE))


def driver(name: ModeName) -> Driver:
    """A new driver for this mode."""
    makers: dict[ModeName, Callable[[], Driver]] = {
        "async": AsyncDriver,
        "blocking": BlockingDriver,
        "portal": PortalDriver,
    }
    return makers[name]()


def pending_tasks() -> set[str]:
    """The names of the other tasks of the running loop. Empty where no loop runs."""
    try:
        current = asyncio.current_task()
    except RuntimeError:
        return set()
    return {task.get_name() for task in asyncio.all_tasks() if task is not current}


def in_threads(*works: Work[T]) -> list[T | BaseException]:
    """Run each piece of work, which must not suspend, in its own thread. All of them start at the same moment."""
    results: list[T | BaseException] = [
        ViolationError("concurrent calls return", expected="an answer", observed="none")
    ]
    results *= len(works)
    start = threading.Barrier(len(works))

    def run(place: int, work: Work[T]) -> None:
        start.wait(PATIENCE)
        try:
            results[place] = run_now(work())
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results
