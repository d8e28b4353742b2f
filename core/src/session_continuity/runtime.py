"""Time, threads and event loops: the only file that may import asyncio, so that everything else runs without a loop.

The project's code is written once, as coroutines. In async mode the caller's loop runs them. In blocking mode they
never suspend, and `run_now` runs them in the caller's own stack: no loop, no thread, also inside a running loop.
Two bridges serve clients that exist in one kind only: `ThreadWire` lets async code call a blocking client, `Portal`
lets blocking code drive an async one.

Context variables set inside a `run_now` are seen by its caller, as in a function; a portal runs in a copy.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, TypeVar

from session_continuity.errors import ConfigError, WouldSuspendError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = [
    "Clock",
    "DirectWire",
    "LoopBound",
    "Mode",
    "Periodic",
    "Portal",
    "Runner",
    "ThreadWire",
    "Wire",
    "gather",
    "of_its_own",
    "run_now",
    "sleeper",
    "utc_now",
    "wire_for",
]

P = ParamSpec("P")
R = TypeVar("R")

Mode = Literal["async", "blocking"]
Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATIENCE = 5.0  # seconds that the end of a program waits for what a portal still runs


class Runner(Protocol):
    """Runs one coroutine to its end and returns its result: `run_now` or `Portal.run`."""

    def __call__(self, coroutine: Coroutine[Any, Any, R], /) -> R: ...


def utc_now() -> datetime:
    """Now, aware, in UTC, cut to milliseconds."""
    return _EPOCH + timedelta(milliseconds=time.time_ns() // 1_000_000)


def run_now(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never suspends, in the caller's own stack.

    Raises WouldSuspendError when it does suspend: thrown into the coroutine, so that the traceback ends at the guilty
    `await`.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except (RuntimeError, AttributeError) as error:
        if _asked_for_a_loop(error):
            raise WouldSuspendError(f"blocking mode has no event loop, which something asked for: {error}") from error
        raise
    try:
        coroutine.throw(WouldSuspendError(f"awaited {awaited!r} in blocking mode, where nothing may suspend"))
    except StopIteration:
        raise WouldSuspendError(f"awaited {awaited!r} in blocking mode, and the error was swallowed") from None
    finally:
        coroutine.close()
    raise WouldSuspendError(f"awaited {awaited!r} in blocking mode, and again after the error")


def _asked_for_a_loop(error: RuntimeError | AttributeError) -> bool:
    """Locks and their kin ask for no loop until they must wait, and then take none for one."""
    if isinstance(error, AttributeError):
        return error.obj is None and error.name == "create_future"
    return "no running event loop" in str(error)


async def of_its_own(awaitable: Awaitable[R]) -> R:
    """The result of what an application handed in. A cancellation that nobody asked of the running task came from
    inside, from something that was awaited there: it is raised as an error, so that it does not end the task."""
    import asyncio

    try:
        return await awaitable
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("something that was awaited there was cancelled") from error


def sleeper(mode: Mode) -> Callable[[float], Awaitable[None]]:
    """How code of this mode waits some seconds."""
    return _sleep_async if mode == "async" else _sleep_blocking


async def _sleep_async(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


async def _sleep_blocking(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251  # there is no loop to block in blocking mode


async def gather(mode: Mode, calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], *, limit: int = 8) -> list[R]:
    """The results of these calls, in their order, up to `limit` of them under way at once: as tasks, or in threads in
    blocking mode, where they must not suspend; there one by one while the program ends, when no thread starts any more.

    When one fails, those that have not begun are dropped, tasks are cancelled, and nothing goes on behind the caller's
    back: what has begun is waited for before the error is raised.
    """
    is_ending = mode == "blocking" and not threading.main_thread().is_alive()
    if is_ending or len(calls) < 2:
        return [await call() for call in calls]
    return await (_gather_tasks if mode == "async" else _gather_threads)(calls, limit)


async def _gather_tasks(calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], limit: int) -> list[R]:
    import asyncio

    free = asyncio.Semaphore(limit)

    async def run(call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        async with free:
            return await call()

    tasks = [asyncio.ensure_future(run(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gather_threads(calls: Sequence[Callable[[], Coroutine[Any, Any, R]]], limit: int) -> list[R]:
    from concurrent.futures import ThreadPoolExecutor

    def run(context: Context, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return context.run(lambda: run_now(call()))

    made = [partial(run, copy_context(), call) for call in calls]
    # The caller's own thread makes one of few calls: to start a thread takes as long as a small request.
    here = 1 if len(calls) <= limit else 0
    with ThreadPoolExecutor(min(limit, len(calls) - here), "session-continuity-gather") as threads:
        others = [threads.submit(call) for call in made[here:]]
        try:
            return [*(call() for call in made[:here]), *(other.result() for other in others)]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


class LoopBound(Generic[R]):
    """Something that is made at the first `get`, once, and belongs to the event loop of that moment, as async clients
    do."""

    def __init__(self, make: Callable[[], Awaitable[R]]) -> None:
        import asyncio

        self._make = make
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: list[R] = []

    async def get(self) -> R:
        """The one thing. Raises ConfigError in another loop, and whatever making it raises; then the next call makes
        it."""
        import asyncio

        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise ConfigError("this store belongs to another event loop; open one in each loop")
        self._loop = loop
        if not self._made:
            async with self._lock:
                if not self._made:
                    self._made.append(await self._make())
        return self._made[0]


class Wire(Protocol):
    """How an adapter calls a blocking client, whatever its own mode."""

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function and return its result."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the wire's threads, once their calls are done."""

    async def aclose(self) -> None:
        """`close` for a coroutine: an event loop goes on meanwhile."""


class DirectWire:
    """Calls in the caller's stack; never suspends."""

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def close(self) -> None:
        """Nothing to release."""

    async def aclose(self) -> None:
        """Nothing to release."""


class ThreadWire:
    """Calls in a worker thread, in a copy of the caller's context variables, and awaits the result.

    A cancelled caller stops waiting at once. Its call, once begun, runs to its end in its thread, so that it never
    stops half-way, and `close` waits for it. May be used again after `close`.
    """

    def __init__(self, threads: int = 4) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._owner = 0
        self._lock = threading.Lock()

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function and return its result, or raise its error."""
        import asyncio

        work = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.wrap_future(self._workers().submit(work))

    def close(self) -> None:
        """Wait for the calls under way and end the threads."""
        if (executor := self._released()) is not None:
            executor.shutdown(wait=True)

    async def aclose(self) -> None:
        """Wait for the calls under way and end the threads; the event loop goes on meanwhile."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if (executor := self._released()) is not None:
            closer = ThreadPoolExecutor(1, "session-continuity-close")  # the loop's own threads would stay behind
            try:
                await asyncio.wrap_future(closer.submit(executor.shutdown))
            except BaseException:
                closer.shutdown(wait=False)
                raise
            closer.shutdown()

    def _released(self) -> ThreadPoolExecutor | None:
        """The threads of this process, which are this wire's no more."""
        with self._lock:
            executor, self._executor = self._executor, None
        return executor if self._owner == os.getpid() else None

    def _workers(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._executor is None or self._owner != os.getpid():  # threads do not survive a fork
                self._executor = ThreadPoolExecutor(self._threads, "session-continuity")
                self._owner = os.getpid()
            return self._executor


def wire_for(mode: Mode, *, threads: int = 4) -> Wire:
    """The wire by which an adapter of this mode calls a blocking client."""
    return ThreadWire(threads) if mode == "async" else DirectWire()


class Portal:
    """An event loop in a background thread, for blocking code that drives an async client.

    The thread starts at the first call and is a daemon. A program that ends without `close` cancels what still runs
    and waits for that a few seconds at most. A call costs about 0.1 ms more than a direct one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = int
        self._owner = os.getpid()
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, R], /) -> R:
        """Run the coroutine in the portal's loop and wait for its result.

        Ctrl-C cancels the coroutine and waits until it has ended; a second one does not wait. Raises ConfigError from
        the portal's own thread, after `close` and when closed meanwhile, and in a forked child, where the loop does
        not exist.
        """
        import asyncio

        call = _Call(coroutine)
        try:
            self._begin(call)
            return call.outcome.result()
        except asyncio.CancelledError:
            if self._closed:
                raise ConfigError("the portal was closed during this call; its outcome is unknown") from None
            raise
        finally:
            call.end()

    def close(self) -> None:
        """Cancel what still runs, stop the loop and join its thread. May be called again, and in a forked child."""
        if self._owner != os.getpid():
            return
        with self._lock:
            self._refuse_own_thread()
            self._closed = True
            stop, thread = self._stop, self._thread
        if thread is not None:
            stop()
            thread.join()

    def _begin(self, call: _Call[Any]) -> None:
        if self._owner != os.getpid():
            raise ConfigError("this store was opened before a fork; open it again in the child process")
        with self._lock:  # a call that is under way when the loop is stopped was scheduled before the stop
            if self._closed:
                raise ConfigError("the portal is closed; open the store again")
            self._refuse_own_thread()
            if self._loop is None:
                self._loop = self._start()
            call.begin(self._loop)

    def _refuse_own_thread(self) -> None:
        if self._thread is threading.current_thread():
            raise ConfigError("a blocking call from the portal's own thread would wait for itself; await instead")

    def _start(self) -> asyncio.AbstractEventLoop:
        import asyncio

        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        loop = runner.get_loop()
        self._thread = threading.Thread(target=_serve, args=(runner,), name="session-continuity-portal", daemon=True)
        self._thread.start()
        self._stop = weakref.finalize(self, _stop_serving, loop, self._thread, self._owner)
        return loop


class _Call(Generic[R]):
    """One coroutine on its way through a portal. Ctrl-C may strike its caller's thread between any two steps."""

    def __init__(self, coroutine: Coroutine[Any, Any, R]) -> None:
        from concurrent.futures import Future

        self.outcome: Future[R] = Future()
        self._coroutine = coroutine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[R] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the caller's thread: hand the coroutine to the loop."""
        self._loop = loop
        loop.call_soon_threadsafe(self._start)

    def end(self) -> None:
        """In the caller's thread: cancel what has not ended and wait for it; nothing of the caller's goes on behind
        its back."""
        if self.outcome.done():
            return
        if self._loop is None:
            self._coroutine.close()
        else:
            self._loop.call_soon_threadsafe(self._cancel)
            self.outcome.exception()

    def _start(self) -> None:
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        import asyncio

        if self._task is None:
            self._coroutine.close()
            self.outcome.set_exception(asyncio.CancelledError())
        else:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[R]) -> None:
        import asyncio

        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self.outcome.set_result(task.result())
        else:
            self.outcome.set_exception(error)


def _serve(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()


def _stop_serving(loop: asyncio.AbstractEventLoop, thread: threading.Thread, owner: int) -> None:
    """What `close` does, also for a portal that was forgotten, at the end of the program at the latest."""
    if owner == os.getpid():
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(_PATIENCE)


class Periodic:
    """Runs a job every so many seconds until stopped: as a task of the running loop, or in a daemon thread.

    The first run is one interval after the start. The job handles its own errors; one that escapes ends the repetition
    and is reported as asyncio and threading report what nobody waits for.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    def start_task(self, job: Callable[[], Awaitable[object]]) -> None:
        """Run the job as a task of the running loop."""
        import asyncio

        self._task = asyncio.get_running_loop().create_task(self._repeat_async(job))

    def start_thread(self, job: Callable[[], object]) -> None:
        """Run the job in a daemon thread of its own."""
        self._thread = threading.Thread(
            target=self._repeat_blocking, args=(job,), name="session-continuity-cleanup", daemon=True
        )
        self._thread.start()

    async def stop_task(self) -> None:
        """Cancel a job under way and wait until it has ended; called by the job itself, let it end. From another loop
        than the task's, cancel without waiting."""
        import asyncio

        self._stopped.set()
        task = self._task
        if task is None or task is asyncio.current_task():
            return
        if task.get_loop() is not asyncio.get_running_loop() and not task.done():
            with suppress(RuntimeError):  # a loop that was closed with its tasks pending runs nothing any more
                task.get_loop().call_soon_threadsafe(task.cancel)
        elif not task.done():  # to cancel a task that has failed would silence its error
            task.cancel()
            await asyncio.wait([task])
        self._task = None

    def stop_thread(self) -> None:
        """Wait until a job under way has ended; called by the job itself, let it end."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    async def _repeat_async(self, job: Callable[[], Awaitable[object]]) -> None:
        import asyncio

        while not self._stopped.is_set():
            await asyncio.sleep(self._seconds)
            await job()

    def _repeat_blocking(self, job: Callable[[], object]) -> None:
        while not self._stopped.wait(min(self._seconds, threading.TIMEOUT_MAX)):
            job()
