"""How an example is run: as the tasks of a loop, in the caller's stack, or through a portal.

Beside `cancellation`, the only file of the suite that knows event loops. No policy is set and no current loop is
replaced, so that a host project's own loops stay as they are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from session_continuity import Mode, Portal, StorageAdapter, for_async, run_now, sleeper
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.wrapping import Forwarding, Method

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DriverName = Literal["async", "blocking", "portal"]
DRIVERS: tuple[DriverName, ...] = ("async", "blocking", "portal")
PATIENCE = 120.0
"""Seconds after which an example counts as hanging."""

Work = Callable[[], Coroutine[Any, Any, T]]


class Driver(Protocol):
    """One way of running examples. `mode` is the mode in which it wants adapters; one of the other mode it bridges as
    core does for applications."""

    name: DriverName
    mode: Mode

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an example to its end."""
        ...

    def reach(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter as an example run here can call it."""
        ...

    async def together(self, *works: Work[T]) -> list[T | BaseException]:
        """Run several pieces of work at once: as tasks, or in a thread each. Results and errors in their order."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def give_way(self) -> None:
        """Let concurrent work run, where there is any, so that it really mixes."""
        ...

    def close(self) -> None:
        """Release loops and threads."""
        ...


class AsyncDriver:
    """An event loop of its own; concurrent work runs as tasks."""

    name: DriverName = "async"
    mode: Mode = "async"

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._crowded = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asyncio.wait_for(coroutine, PATIENCE))

    def reach(self, adapter: StorageAdapter) -> StorageAdapter:
        return for_async(adapter)

    async def together(self, *works: Work[T]) -> list[T | BaseException]:
        self._crowded = True
        outcomes = await asyncio.gather(*(work() for work in works), return_exceptions=True)
        self._crowded = False
        return outcomes

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def give_way(self) -> None:
        if self._crowded:
            await asyncio.sleep(0)

    def close(self) -> None:
        self._runner.close()


class BlockingDriver:
    """The caller's stack; concurrent work runs in threads. Whatever suspends fails."""

    name: DriverName = "blocking"
    mode: Mode = "blocking"

    def __init__(self) -> None:
        self._crowded = False
        self._portal = Portal()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_now(coroutine)

    def reach(self, adapter: StorageAdapter) -> StorageAdapter:
        return adapter if adapter.mode == "blocking" else _ThroughPortal(adapter, self._portal)

    async def together(self, *works: Work[T]) -> list[T | BaseException]:
        self._crowded = True
        outcomes = in_threads(*works)
        self._crowded = False
        return outcomes

    async def sleep(self, seconds: float) -> None:
        await sleeper("blocking")(seconds)

    async def give_way(self) -> None:
        if self._crowded:
            await sleeper("blocking")(0)

    def close(self) -> None:
        self._portal.close()


class PortalDriver(BlockingDriver):
    """Blocking code that drives an async-mode adapter in a background loop."""

    name: DriverName = "portal"
    mode: Mode = "async"

    def reach(self, adapter: StorageAdapter) -> StorageAdapter:
        return _ThroughPortal(for_async(adapter), self._portal)


class _ThroughPortal(Forwarding):
    def __init__(self, inner: StorageAdapter, portal: Portal) -> None:
        super().__init__(inner)
        self._portal = portal

    async def forward(self, method: Method[P, R], /, *args: P.args, **options: P.kwargs) -> R:
        return self._portal.run(asyncio.wait_for(method(*args, **options), PATIENCE))


def driver(name: DriverName) -> Driver:
    """A new driver of this name."""
    makers: dict[DriverName, Callable[[], Driver]] = {
        "async": AsyncDriver,
        "blocking": BlockingDriver,
        "portal": PortalDriver,
    }
    return makers[name]()


def pending_tasks() -> set[str]:
    """The names of the other tasks of the running loop; nothing where there is no loop."""
    try:
        current = asyncio.current_task()
    except RuntimeError:
        return set()
    return {task.get_name() for task in asyncio.all_tasks() if task is not current}


def in_threads(*works: Work[T]) -> list[T | BaseException]:
    """Run each piece of work, which must not suspend, in a thread of its own, all released at the same moment."""
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
