"""Concurrent calls in either mode."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from session_continuity.runtime.modes import Mode, run_now
from session_continuity.runtime.promise import Promise

__all__ = ["gather"]

R = TypeVar("R")


async def gather(mode: Mode, calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], *, limit: int = 8) -> list[R]:
    """The results of the calls, in their order. At most `limit` calls run at once.

    They run as tasks in async mode, and in threads in blocking mode, where they must not suspend. If a call fails,
    those that have not started are dropped, running tasks are cancelled, and the error is raised after everything that
    started has ended. During interpreter shutdown, when threads can no longer be started, blocking calls run one after
    the other.
    """
    is_shutting_down = mode == "blocking" and not threading.main_thread().is_alive()
    if is_shutting_down or len(calls) < 2:
        return [await call() for call in calls]
    return await (_gather_tasks if mode == "async" else _gather_threads)(calls, limit)


async def _gather_tasks(calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], limit: int) -> list[R]:
    import asyncio

    slots = asyncio.Semaphore(limit)

    async def run(call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        async with slots:
            return await call()

    tasks = [asyncio.ensure_future(run(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # gather() leaves the other tasks running when one fails.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gather_threads(calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], limit: int) -> list[R]:
    work: _SharedWork[R] = _SharedWork([partial(_run_in, copy_context(), call) for call in calls])
    try:
        # The caller's thread makes calls too: starting a thread takes as long as a small request.
        for _ in range(min(limit, len(calls)) - 1):
            threading.Thread(target=work.help, name="session-continuity-gather", daemon=True).start()
        work.do()
    finally:
        work.end()
    return [promise.result() for promise in work.promises]


def _run_in(context: Context, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Make a call in a context. It cannot be entered twice at the same time, so each call has its own."""
    return context.run(lambda: run_now(call()))


class _SharedWork(Generic[R]):
    """Calls that several threads make. A signal handler may raise in any method of the thread that waits.

    A thread of `concurrent.futures` would wait for ever for a lock that an interrupted `Future.result` keeps, and so
    would the interpreter at its end.
    """

    def __init__(self, calls: Sequence[Callable[[], R]]) -> None:
        self.promises: list[Promise[R]] = [Promise() for _ in calls]
        self._lock = threading.Lock()
        self._waiting = deque(zip(self.promises, calls, strict=True))
        self._begun: list[Promise[R]] = []

    def do(self) -> None:
        """Make calls in the thread that waits for all of them, until none is left."""
        while (item := self._next([])) is not None:
            self._make(*item, caught=Exception)

    def help(self) -> None:
        """Make calls in another thread, until none is left."""
        while (item := self._next(self._begun)) is not None:
            self._make(*item, caught=BaseException)

    def end(self) -> None:
        """Drop the calls that have not begun, and wait for those of the other threads."""
        self._drop()
        for promise in self._begun:
            promise.wait()

    def _make(self, promise: Promise[R], call: Callable[[], R], *, caught: type[BaseException]) -> None:
        """Make a call. If it fails, the calls that have not begun are dropped."""
        try:
            result = call()
        except caught as error:
            self._drop()
            promise.fail(error)
        else:
            promise.resolve(result)

    def _next(self, begun: list[Promise[R]]) -> tuple[Promise[R], Callable[[], R]] | None:
        with self._lock:
            if not self._waiting:
                return None
            begun.append(self._waiting[0][0])
            return self._waiting.popleft()

    def _drop(self) -> None:
        with self._lock:
            self._waiting.clear()
