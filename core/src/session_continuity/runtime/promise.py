"""A result that another thread delivers."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Promise"]

R = TypeVar("R")


class Promise(Generic[R]):
    """A result that another thread delivers, by `resolve` or `fail`, once.

    A signal handler may raise at any point of `wait`, and `wait` may then be called again. `concurrent.futures.Future`
    does not allow that: its lock can stay taken, and the thread that delivers the result then waits for ever.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._results: list[R] = []
        self._error: BaseException | None = None

    def resolve(self, result: R) -> None:
        """Deliver the result."""
        self._results.append(result)
        self._ring()

    def fail(self, error: BaseException) -> None:
        """Deliver an error in place of a result."""
        self._error = error
        self._ring()

    def wait(self) -> None:
        """Wait until the result is there."""
        if not self.is_done:
            self._bell.acquire()

    def result(self) -> R:
        """Wait for the result and return it, or raise the error."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _ring(self) -> None:
        self.is_done = True
        self._bell.release()
