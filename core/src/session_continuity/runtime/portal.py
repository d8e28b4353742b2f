"""An event loop in a background thread, for blocking code that drives an async client."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from session_continuity.errors import ConfigError
from session_continuity.runtime.promise import Promise

if TYPE_CHECKING:
    import asyncio

__all__ = ["Portal"]

R = TypeVar("R")

_EXIT_TIMEOUT = 5.0  # seconds


class Portal:
    """An event loop in a background thread, for blocking code that uses an async client.

    The daemon thread is started by the first call. If the program ends without `close`, running calls are cancelled,
    and the exit waits for them for at most 5 seconds. A call takes about 0.1 ms longer than a direct one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = int
        self._owner = os.getpid()
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, R], /) -> R:
        """Run the coroutine in the portal's loop and return its result.

        Ctrl-C cancels the coroutine and waits until it has ended. A second Ctrl-C does not wait. Raises ConfigError in
        the portal's own thread, in a forked child, after `close`, and if the portal is closed during the call.
        """
        import asyncio

        call = _Call(coroutine)
        try:
            self._start_call(call)
            return call.outcome.result()
        except asyncio.CancelledError:
            if self._closed:
                raise ConfigError("the portal was closed during this call; its outcome is unknown") from None
            raise
        finally:
            call.end()

    def close(self) -> None:
        """Cancel running calls, stop the loop and join its thread. May be called again, and in a forked child."""
        if self._owner != os.getpid():  # the thread exists in the parent only
            return
        with self._lock:
            self._refuse_own_thread()
            self._closed = True
            stop, thread = self._stop, self._thread
        if thread is not None:
            stop()
            thread.join()

    def _start_call(self, call: _Call[Any]) -> None:
        if self._owner != os.getpid():
            raise ConfigError("this store was opened before a fork; open it again in the child process")
        # Under the lock, so that `close` cannot stop the loop between the check and the scheduling of the call.
        with self._lock:
            if self._closed:
                raise ConfigError("the portal is closed; open the store again")
            self._refuse_own_thread()
            if self._loop is None:
                self._loop = self._start_loop()
            call.start(self._loop)

    def _refuse_own_thread(self) -> None:
        if self._thread is threading.current_thread():
            raise ConfigError("a blocking call from the portal's own thread would wait for itself; await instead")

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        import asyncio

        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        loop = runner.get_loop()
        self._thread = threading.Thread(target=_serve, args=(runner,), name="session-continuity-portal", daemon=True)
        self._thread.start()
        # Runs when the portal is garbage-collected, and at exit at the latest. It must not refer to `self`.
        self._stop = weakref.finalize(self, _stop_loop, loop, self._thread, self._owner)
        return loop


class _Call(Generic[R]):
    """One coroutine in a portal.

    KeyboardInterrupt may be raised in the caller's thread between any two steps. `end` works after each of them.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, R]) -> None:
        self.outcome: Promise[R] = Promise()
        self._coroutine = coroutine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[R] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Schedule the coroutine in the loop. Called in the caller's thread."""
        self._loop = loop
        loop.call_soon_threadsafe(self._create_task)

    def end(self) -> None:
        """Cancel the coroutine if it has not ended, and wait for its end. Called in the caller's thread."""
        if self.outcome.is_done:
            return
        if self._loop is None:
            self._coroutine.close()  # it was never scheduled
        else:
            self._loop.call_soon_threadsafe(self._cancel)
            self.outcome.wait()

    def _create_task(self) -> None:
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        import asyncio

        if self._task is None:  # KeyboardInterrupt came before `_create_task` was scheduled
            self._coroutine.close()
            self.outcome.fail(asyncio.CancelledError())
        else:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[R]) -> None:
        import asyncio

        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self.outcome.resolve(task.result())
        else:
            self.outcome.fail(error)


def _serve(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()


def _stop_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, owner: int) -> None:
    """Stop the loop of a portal. Its thread then cancels the remaining tasks and ends."""
    if owner == os.getpid():
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():  # the garbage collector may run this in the portal's thread
            thread.join(_EXIT_TIMEOUT)
