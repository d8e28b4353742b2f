"""`ObservedAdapter`, which reports every call of a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

from session_continuity.backends.forwarding import ForwardingAdapter
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import SessionContinuityError

__all__ = ["CallObserver", "ObservedAdapter"]

P = ParamSpec("P")
R = TypeVar("R")


class CallObserver(Protocol):
    """Receives each call of a store after it ended. `outcome` is `ok`, an error's `code`, or `cancelled`."""

    def __call__(self, *, backend: str, operation: str, seconds: float, outcome: str) -> None: ...


class ObservedAdapter(ForwardingAdapter):
    """An adapter whose calls are passed to `observe`: duration and outcome, never arguments or results."""

    def __init__(self, inner: StorageAdapter, observe: CallObserver) -> None:
        super().__init__(inner)
        self._observe = observe

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        started, outcome = time.perf_counter(), "cancelled"
        try:
            result = await method(*args, **kwargs)
            outcome = "ok"
            return result
        except SessionContinuityError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.perf_counter() - started
            self._observe(backend=self.backend, operation=method.__name__, seconds=seconds, outcome=outcome)
