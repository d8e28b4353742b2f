"""Concurrent calls in either mode."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from session_continuity.runtime.modes import Mode, run_now

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
    from concurrent.futures import ThreadPoolExecutor

    def run(context: Context, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return context.run(lambda: run_now(call()))

    # A context cannot be entered twice at the same time, so each call has a copy.
    jobs = [partial(run, copy_context(), call) for call in calls]
    # With few calls, the caller's thread makes one of them: starting a thread takes as long as a small request.
    here = 1 if len(calls) <= limit else 0
    with ThreadPoolExecutor(min(limit, len(calls) - here), "session-continuity-gather") as threads:
        others = [threads.submit(call) for call in jobs[here:]]
        try:
            return [*(call() for call in jobs[:here]), *(other.result() for other in others)]
        except BaseException:
            # Drops the calls that have not started. Leaving the `with` waits for the others.
            threads.shutdown(wait=False, cancel_futures=True)
            raise
