"""A background job that is repeated."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Periodic"]


class Periodic:
    """Runs a job at an interval of some seconds, as a task of the running loop or in a daemon thread.

    The first run is one interval after the start. The job must handle its errors. An error that it raises ends the
    repetition, and asyncio or threading reports it as unhandled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    def start_task(self, job: Callable[[], Awaitable[object]]) -> None:
        """Start a task of the running loop that repeats the job."""
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self._repeat_async(job))

    def start_thread(self, job: Callable[[], object]) -> None:
        """Start a daemon thread that repeats the job."""
        self._thread = threading.Thread(
            target=self._repeat_blocking, args=(job,), name="session-continuity-cleanup", daemon=True
        )
        self._thread.start()

    async def stop_task(self) -> None:
        """Cancel the task and wait until it has ended.

        If the job itself calls this, the repetition ends after the job. From a different loop the task is cancelled
        without waiting.
        """
        import asyncio

        self._stopped.set()
        task = self._task
        if task is None or task is asyncio.current_task():
            return
        if task.get_loop() is not asyncio.get_running_loop() and not task.done():
            with suppress(RuntimeError):  # the task's loop was closed, so the task does not run any more
                task.get_loop().call_soon_threadsafe(task.cancel)
        elif not task.done():  # cancelling a failed task would hide its error
            task.cancel()
            await asyncio.wait([task])
        self._task = None

    def stop_thread(self) -> None:
        """Stop the repetition and wait until the thread has ended, unless the job itself calls this."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    async def _repeat_async(self, job: Callable[[], Awaitable[object]]) -> None:
        import asyncio

        while not self._stopped.is_set():
            await asyncio.sleep(self._seconds)
            await job()

    def _repeat_blocking(self, job: Callable[[], object]) -> None:
        # wait() raises OverflowError above TIMEOUT_MAX, which is about 292 years.
        while not self._stopped.wait(min(self._seconds, threading.TIMEOUT_MAX)):
            job()
