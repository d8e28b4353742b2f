"""Calls of a blocking client: direct in blocking mode, in worker threads in async mode."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from session_continuity.runtime.modes import Mode

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["CallRunner", "DirectRunner", "ThreadRunner", "call_runner"]

P = ParamSpec("P")
R = TypeVar("R")


class CallRunner(Protocol):
    """Calls a blocking client for an adapter of either mode."""

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function and return its result."""
        raise NotImplementedError

    def close(self) -> None:
        """Wait for the calls in progress, and end the threads."""

    async def aclose(self) -> None:
        """`close` for coroutines. It does not block the event loop."""


class DirectRunner:
    """Calls on the caller's stack, and never suspends."""

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def close(self) -> None:
        """Nothing to release."""

    async def aclose(self) -> None:
        """Nothing to release."""


class ThreadRunner:
    """Calls in a worker thread, with a copy of the caller's context variables, and awaits the result.

    A cancelled caller stops waiting at once. A call that has started runs to its end in its thread, and `close` waits
    for it. The runner may be used again after `close`.
    """

    def __init__(self, threads: int = 4) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._owner = 0
        self._lock = threading.Lock()

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a thread and return its result."""
        import asyncio

        work = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.wrap_future(self._workers().submit(work))

    def close(self) -> None:
        """Wait for the calls in progress, and end the threads."""
        if (executor := self._detach_executor()) is not None:
            executor.shutdown(wait=True)

    async def aclose(self) -> None:
        """`close` for coroutines. It does not block the event loop."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if (executor := self._detach_executor()) is not None:
            # A thread that ends here. `asyncio.to_thread` would leave one behind in the loop's own pool.
            closer = ThreadPoolExecutor(1, "session-continuity-close")
            try:
                await asyncio.wrap_future(closer.submit(executor.shutdown))
            except BaseException:
                closer.shutdown(wait=False)
                raise
            closer.shutdown()

    def _detach_executor(self) -> ThreadPoolExecutor | None:
        """Forget the threads, and return them if this process started them. In a forked child they do not exist."""
        with self._lock:
            executor, self._executor = self._executor, None
        return executor if self._owner == os.getpid() else None

    def _workers(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            # Threads do not survive a fork: calls of an inherited executor would wait for ever.
            if self._executor is None or self._owner != os.getpid():
                self._executor = ThreadPoolExecutor(self._threads, "session-continuity")
                self._owner = os.getpid()
            return self._executor


def call_runner(mode: Mode, *, threads: int = 4) -> CallRunner:
    """The runner with which an adapter of this mode calls a blocking client. `threads` is for async mode."""
    return ThreadRunner(threads) if mode == "async" else DirectRunner()
