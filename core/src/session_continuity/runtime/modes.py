"""The two modes in which the same coroutines run.

`async` is in the caller's event loop, and `blocking` on the caller's stack. In blocking mode a coroutine never
suspends. So `run_now` needs neither a loop nor a thread, and works inside a running loop too. Its caller sees context
variables that the coroutine sets, as after a call of a function.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Protocol, TypeVar

from session_continuity.errors import WouldSuspendError

__all__ = [
    "Mode",
    "Runner",
    "await_function",
    "lacks_event_loop",
    "run_isolated",
    "run_now",
    "sleeper",
]

R = TypeVar("R")

Mode = Literal["async", "blocking"]


class Runner(Protocol):
    """Runs a coroutine to its end and returns its result: `run_now` or `Portal.run`."""

    def __call__(self, coroutine: Coroutine[Any, Any, R], /) -> R: ...


def run_now(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never suspends, on the caller's stack, and return its result.

    Raises WouldSuspendError if it suspends.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except (RuntimeError, AttributeError) as error:
        if lacks_event_loop(error):
            raise WouldSuspendError(f"blocking mode has no event loop, and the code needs one: {error}") from error
        raise
    # Thrown into the coroutine, the error has a traceback that ends at the `await` that suspended.
    try:
        coroutine.throw(WouldSuspendError(f"awaited {awaited!r} in blocking mode, where nothing may suspend"))
    except StopIteration:
        raise WouldSuspendError(f"awaited {awaited!r} in blocking mode, and the error was swallowed") from None
    finally:
        coroutine.close()
    raise WouldSuspendError(f"awaited {awaited!r} in blocking mode, and again after the error")


def lacks_event_loop(error: Exception) -> bool:
    """Whether the error comes from a missing event loop."""
    # asyncio's locks and queues look for a loop only when they have to wait. They do not check that there is one.
    if isinstance(error, AttributeError):
        return error.obj is None and error.name == "create_future"
    return "no running event loop" in str(error)


async def run_isolated(awaitable: Awaitable[R]) -> R:
    """The result of an awaitable from an application's callback.

    A CancelledError that the awaitable raises by itself becomes a RuntimeError, so that it does not end the task that
    awaits it. A cancellation of that task is raised as it is.
    """
    import asyncio

    try:
        return await awaitable
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # the caller cancelled this task
            raise
        raise RuntimeError("the awaitable was cancelled from inside, not by its caller") from error


def await_function(mode: Mode) -> Callable[[Awaitable[R]], Awaitable[R]]:
    """A function that awaits an awaitable from an application's callback, in this mode.

    In blocking mode it is run separately, so that an awaitable that suspends raises there instead of breaking the
    surrounding call.
    """
    return run_isolated if mode == "async" else _run_separately


async def _run_separately(awaitable: Awaitable[R]) -> R:
    return run_now(_await(awaitable))


async def _await(awaitable: Awaitable[R]) -> R:
    return await awaitable


def sleeper(mode: Mode) -> Callable[[float], Awaitable[None]]:
    """A function that sleeps for some seconds, in this mode."""
    return _sleep_async if mode == "async" else _sleep_blocking


async def _sleep_async(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


async def _sleep_blocking(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251  # blocking mode has no loop to block
