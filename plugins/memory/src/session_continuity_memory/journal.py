"""`Journal`: how to take back a change that a signal handler interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Journal:
    """The steps that take the present change back.

    A signal handler, such as that of Ctrl-C, may raise between any two steps of a change. So each step of it first
    enters how to take it back. The next call does that where a change was not committed.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def enter(self, step: Callable[[], object]) -> None:
        """Add a step. Repeating it must change nothing, because taking back may be interrupted too."""
        self._steps.append(step)

    def commit(self, result: R) -> R:
        """Keep the change, and return its result."""
        self._steps = []
        return result

    def take_back(self) -> None:
        """Take back a change that was not committed, the last step first."""
        while self._steps:
            self._steps[-1]()
            self._steps.pop()
