"""Blocking calls that a signal handler interrupts by raising, as Ctrl-C does, at a chosen point.

CPython runs a signal handler when a Python function begins, and when a call of a C function has returned. These are
the points of a call. An exception raised there drops the result of the C function. So a lock that was acquired just
then is held by nobody.
"""

from __future__ import annotations

import gc
import io
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from session_continuity import StorageAdapter
from session_continuity_conformance.faults.writes import WRITES, Write
from session_continuity_conformance.recording import chain
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

Call = Callable[[], Coroutine[Any, Any, object]]


_UNSAFE = "logging"
"""A module of Python that keeps its global lock when it is interrupted. No store can help that."""


class HandlerError(Exception):
    """The ordinary exception of a signal handler, such as that of a time limit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call that was to be interrupted. `points` is the number of points that it passed, `error` is
    the exception that it raised. Python drops an exception in a finaliser (`was_dropped`)."""

    points: int
    error: BaseException | None
    was_dropped: bool = False


class _Handler:
    """A signal handler of an application, which raises an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: object) -> None:
        raise self._error


@contextmanager
def _installed(handler: _Handler) -> Generator[None]:
    """Install the handler, in the main thread, so that it is known as one."""
    if threading.current_thread() is not threading.main_thread():
        raise NotApplicableError("signal handlers run in the main thread only")
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Interrupter:
    """Counts the points that a thread passes, and raises an error at one of them, outside of the end of a file.

    When Python ends a file that nobody closed, such as the response of an HTTP client, it closes it and drops every
    exception of that without a word.
    """

    def __init__(self, point: int, handler: _Handler) -> None:
        self.passed = 0
        self._point = point
        self._handler = handler

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "c_return") or frame.f_globals.get("__name__") == _UNSAFE:
            return
        if self.passed + 1 == self._point and _closes_file(frame):
            return
        self.passed += 1
        if self.passed == self._point:
            sys.setprofile(None)
            self._handler()


def _closes_file(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "close" and isinstance(frame.f_locals.get("self"), io.IOBase):
            return True
        frame = frame.f_back
    return False


async def interrupt(call: Call, point: int, error: BaseException) -> Outcome:
    """Make a call that is interrupted at a point, if it passes so many."""
    raised: BaseException | None = None
    dropped: list[BaseException | None] = []
    interrupter = _Interrupter(point, handler := _Handler(error))
    with _installed(handler), warnings.catch_warnings():
        # A coroutine that was interrupted before its first step.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        hooks, was_collecting = (sys.getprofile(), sys.unraisablehook), gc.isenabled()
        gc.disable()
        sys.unraisablehook = lambda report: dropped.append(report.exc_value)
        sys.setprofile(interrupter)
        try:
            await call()
        except BaseException as caught:
            raised = caught
        sys.setprofile(hooks[0])
        for each in [] if raised is None else chain(raised):
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
        gc.collect(1)
        sys.unraisablehook = hooks[1]
        if was_collecting:
            gc.enable()
    return Outcome(interrupter.passed, raised, was_dropped=any(each is error for each in dropped))


@contextmanager
def interrupting(store: StoreFixture) -> Generator[None]:
    """Surrounds an example that interrupts calls: a client may drop connections, which the garbage collector closes.

    Raises NotApplicableError unless the example runs in the caller's stack.
    """
    if store.driver.name == "async":
        raise NotApplicableError("a signal handler that raises in an event loop breaks the loop itself")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()  # here, where the warning is ignored


async def interrupted_writes(
    store: StoreFixture, adapter: StorageAdapter, make_error: Callable[[], BaseException], times: int
) -> AsyncIterator[tuple[Write, str, BaseException | None]]:
    """Each kind of write, interrupted at about so many points spread over the call, each time on a new session.

    Yields the write, what was done, and the exception that the call raised.
    """
    for name, make in WRITES.items():
        points = (await interrupt(_sending(await make(store), adapter), sys.maxsize, KeyboardInterrupt())).points
        step = max(1, points // times)
        for point in range(1 + points % step, points, step):
            write = await make(store)
            outcome = await interrupt(_sending(write, adapter), point, make_error())
            if outcome.error is None:  # it may have met a finaliser, which is elsewhere the next time
                write = await make(store)
                outcome = await interrupt(_sending(write, adapter), point, make_error())
            if outcome.points < point:
                break  # the first call of a kind takes more steps
            if not outcome.was_dropped:
                yield write, f"{name}, interrupted at point {point} of {points}", outcome.error


def _sending(write: Write, adapter: StorageAdapter) -> Call:
    return lambda: write.send(adapter)
