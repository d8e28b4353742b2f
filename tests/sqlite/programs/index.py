"""Build the index of words of PATH, and stop for ever in the transaction of step STOP, after what it has written.

Step 0 creates the index, the others enter words. Answers `stopped`, or `done` if there are fewer steps.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from itertools import count

from session_continuity import SessionManager
from session_continuity_sqlite import word_index

path, stop = sys.argv[1], int(sys.argv[2])
steps = count()


def stopping(work: Callable[[sqlite3.Connection], object]) -> Callable[[sqlite3.Connection], object]:
    def step(connection: sqlite3.Connection) -> object:
        result = work(connection)
        if next(steps) == stop:
            print("stopped", flush=True)  # noqa: T201
            sys.stdin.read()
        return result

    return step


word_index.create = stopping(word_index.create)  # type: ignore[assignment]
word_index.enter_some = stopping(word_index.enter_some)  # type: ignore[assignment]
with SessionManager.open(f"sqlite:///{path}?search=true"):
    print("done", flush=True)  # noqa: T201
