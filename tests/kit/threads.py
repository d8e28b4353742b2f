"""Running functions in several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_in_threads(functions: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """What each function returns or raises. All of them start at the same moment, each in a thread."""
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], T]) -> T | Exception:
        start.wait()
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as threads:
        return list(threads.map(run, functions))
