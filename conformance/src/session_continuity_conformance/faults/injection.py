"""Stores that fail on purpose, for the tests of plugins and of applications.

    plan = Planned()
    with SessionManager(FaultyStorage(adapter, plan)) as manager:
        plan.add("append_messages", FAIL_AFTER)

`Chaos` is the same as an extension: `registry.register_extension(Chaos(Random(0.05, seed=7)))` puts it around every
store that is opened through that registry.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

from session_continuity import StorageAdapter, StorageError, ThrottledError, UnavailableError, hookimpl, sleeper
from session_continuity_conformance.wrapping import METHODS, Forwarding, Method

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
"""Says what happens to the next call of a method, None for nothing. Called from any thread."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call: it waits some seconds, and raises an error instead of being made (`before`), or after
    it was made, instead of its answer (`after`)."""

    error: type[StorageError] | None = UnavailableError
    moment: Literal["before", "after"] = "before"
    seconds: float = 0.0


FAIL_BEFORE = Fault()
FAIL_AFTER = Fault(moment="after")
THROTTLE = Fault(ThrottledError)
SERVING = frozenset(METHODS) - {"setup", "close", "health"}


def delay(seconds: float) -> Fault:
    """A call that takes so much longer."""
    return Fault(error=None, seconds=seconds)


class Planned:
    """A plan that is made call by call: the faults of each method, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: dict[str, deque[Fault | None]] = {}
        self._lock = threading.Lock()

    def add(self, method: str, *faults: Fault | None) -> None:
        """The next calls of a method meet these faults, one each; None lets a call through."""
        if method not in METHODS:
            raise ValueError(f"{method} is no method of StorageAdapter")
        with self._lock:
            self._faults.setdefault(method, deque()).extend(faults)

    def __call__(self, method: str) -> Fault | None:
        with self._lock:
            waiting = self._faults.get(method)
            return waiting.popleft() if waiting else None


class Random:
    """A plan that lets a share (`rate`, 0 to 1) of the calls meet one of these faults; the same for the same seed and
    order of calls."""

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


class FaultyStorage(Forwarding):
    """The inner adapter, whose calls fail as a plan says."""

    def __init__(self, inner: StorageAdapter, plan: Plan) -> None:
        super().__init__(inner)
        self.backend = inner.backend
        self._plan = plan
        self._sleep = sleeper(inner.mode)

    async def forward(self, method: Method[P, R], /, *args: P.args, **options: P.kwargs) -> R:
        fault = self._plan(method.__name__) or Fault(error=None)
        if fault.seconds:
            await self._sleep(fault.seconds)
        if fault.error is not None and fault.moment == "before":
            raise self._failure(fault.error, method.__name__, "nothing was sent")
        result = await method(*args, **options)
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
