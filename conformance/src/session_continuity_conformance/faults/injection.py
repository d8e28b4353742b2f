"""Stores that fail on purpose, for the tests of plugins and applications.

    plan = Planned()
    with SessionManager(FaultyStorage(adapter, plan)) as manager:
        plan.add("append_messages", FAIL_AFTER)

`Chaos` does the same as an extension: `registry.register_extension(Chaos(Random(0.05, seed=7)))` puts it around every
store that this registry opens.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from session_continuity import (
    ForwardingAdapter,
    StorageAdapter,
    StorageError,
    ThrottledError,
    UnavailableError,
    hookimpl,
    sleeper,
)
from session_continuity_conformance.operations import OPERATIONS

__all__ = [
    "FAIL_AFTER",
    "FAIL_BEFORE",
    "THROTTLE",
    "Chaos",
    "Fault",
    "FaultyStorage",
    "Plan",
    "Planned",
    "Random",
    "delay",
]

P = ParamSpec("P")
R = TypeVar("R")

Plan = Callable[[str], "Fault | None"]
"""Returns the fault of the next call of a method, or None. It is called from any thread."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call.

    It waits `seconds`, and raises `error` either before the call is made or after it, instead of its result.
    """

    error: type[StorageError] | None = UnavailableError
    moment: Literal["before", "after"] = "before"
    seconds: float = 0.0


FAIL_BEFORE = Fault()
FAIL_AFTER = Fault(moment="after")
THROTTLE = Fault(ThrottledError)
SERVING = frozenset(OPERATIONS) - {"setup", "close", "health"}


def delay(seconds: float) -> Fault:
    """A fault that makes a call slower by so many seconds."""
    return Fault(error=None, seconds=seconds)


class Planned:
    """A plan for single calls. Each method meets its faults in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: dict[str, deque[Fault | None]] = {}
        self._lock = threading.Lock()

    def add(self, method: str, *faults: Fault | None) -> None:
        """Let the next calls of a method meet these faults, one each. None lets a call through."""
        if method not in OPERATIONS:
            raise ValueError(f"StorageAdapter has no method {method}")
        with self._lock:
            self._faults.setdefault(method, deque()).extend(faults)

    def __call__(self, method: str) -> Fault | None:
        with self._lock:
            waiting = self._faults.get(method)
            return waiting.popleft() if waiting else None


class Random:
    """A plan in which a share of the calls, `rate` from 0 to 1, meets one of these faults. The same seed gives the same
    faults for the same calls."""

    def __init__(
        self,
        rate: float,
        *,
        seed: int,
        faults: Sequence[Fault] = (FAIL_BEFORE, FAIL_AFTER, THROTTLE),
        methods: Collection[str] = SERVING,
    ) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self._faults = faults
        self._methods = methods
        self._lock = threading.Lock()

    def __call__(self, method: str) -> Fault | None:
        if method not in self._methods:
            return None
        with self._lock:
            return self._random.choice(self._faults) if self._random.random() < self._rate else None


class FaultyStorage(ForwardingAdapter):
    """An adapter whose calls fail according to a plan."""

    def __init__(self, inner: StorageAdapter, plan: Plan) -> None:
        super().__init__(inner)
        self._plan = plan
        self._sleep = sleeper(inner.mode)

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        fault = self._plan(method.__name__) or Fault(error=None)
        if fault.seconds:
            await self._sleep(fault.seconds)
        if fault.error is not None and fault.moment == "before":
            raise self._failure(fault.error, method.__name__, "nothing was sent")
        result = await super().forward(method, *args, **kwargs)
        if fault.error is not None:
            raise self._failure(fault.error, method.__name__, "the answer was lost")
        return result

    def _failure(self, error: type[StorageError], operation: str, what: str) -> StorageError:
        return error(f"a fault was injected, {what}", backend=self.backend, operation=operation)


class Chaos:
    """An extension that puts a `FaultyStorage` around every store."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @hookimpl
    def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter:
        return FaultyStorage(adapter, self._plan)
