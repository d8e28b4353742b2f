"""Running a store's coroutines in either mode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from session_continuity import Mode, run_now

from .threads import run_in_threads

T = TypeVar("T")

MODES: tuple[Mode, ...] = ("blocking", "async")


class ModeRunner:
    """Runs coroutines in the caller's stack in blocking mode, and in one event loop in async mode."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._runner = asyncio.Runner() if mode == "async" else None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of one coroutine."""
        return run_now(coroutine) if self._runner is None else self._runner.run(coroutine)

    def run_together(self, *calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """What each call returns or raises when all of them run at once: in threads, or as tasks of the loop."""
        if self._runner is None:
            return [*run_in_threads([partial(_run, call) for call in calls])]

        async def gather() -> list[T | BaseException]:
            return await asyncio.gather(*(call() for call in calls), return_exceptions=True)

        return self._runner.run(gather())

    def close(self) -> None:
        """Close the event loop, if there is one."""
        if self._runner is not None:
            self._runner.close()


def _run(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return run_now(call())
