"""Calls of an application's callback that end after some time, whatever the callback does."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeAlias

from session_continuity.runtime.modes import Mode, run_isolated, run_now

__all__ = ["CallLimited", "OutOfTimeError", "limited_calls"]

CallLimited: TypeAlias = Callable[[Callable[[], Any], float], Awaitable[Any]]
"""Calls a function, awaits what it returns if that is awaitable, and returns the result.

Raises OutOfTimeError when that takes longer than the number of seconds.
"""


class OutOfTimeError(Exception):
    """The callback took too long. It may still be running in its thread, and its result is dropped."""


def limited_calls(mode: Mode) -> CallLimited:
    """The function that calls an application's callback in this mode.

    A coroutine runs in the event loop and is cancelled at the end of its time. Any other function runs in a thread.
    """
    return _call_async if mode == "async" else _call_blocking


class _InThread:
    """A call in a thread of its own that does not keep the process alive. `done` is called when it has ended."""

    def __init__(self, function: Callable[[], Any], done: Callable[[], object]) -> None:
        self._function = function
        self._done = done
        self._result: Any = None
        self._error: BaseException | None = None
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="session-continuity-callback", daemon=True).start()

    def result(self) -> Any:
        """What the call returned. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # raised by `result`, in the thread of the caller
            self._error = error
        self._done()


async def _call_blocking(function: Callable[[], Any], seconds: float) -> Any:
    ended = threading.Event()
    call = _InThread(lambda: _run_to_end(function), ended.set)
    if not ended.wait(seconds):
        raise OutOfTimeError
    return call.result()


def _run_to_end(function: Callable[[], Any]) -> Any:
    answer = function()
    return run_now(_await(answer)) if inspect.isawaitable(answer) else answer


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _call_async(function: Callable[[], Any], seconds: float) -> Any:
    import asyncio

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            answer = function() if _is_coroutine_function(function) else await _in_thread(function)
            return await run_isolated(answer) if inspect.isawaitable(answer) else answer
    except TimeoutError:
        if limit.expired():
            raise OutOfTimeError from None
        raise


def _is_coroutine_function(function: Any) -> bool:
    """Whether calling the function only makes a coroutine. A `partial` of one does too."""
    inner = getattr(function, "func", function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004


async def _in_thread(function: Callable[[], Any]) -> Any:
    import asyncio

    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    call = _InThread(function, wake)
    await ended.wait()
    return call.result()
