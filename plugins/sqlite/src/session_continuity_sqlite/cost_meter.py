"""Counts what calls cost: an adapter's transactions, and the steps of SQLite's virtual machine in them.

Nothing that serves calls imports this module.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_sqlite.adapter import SqliteStorage
from session_continuity_sqlite.pool import Job


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter does. Raises ConfigError for another store's adapter."""
    if not isinstance(adapter, SqliteStorage):
        raise ConfigError(
            f"this cost meter counts the transactions of a SqliteStorage, not of a {type(adapter).__name__}"
        )
    requests = steps = 0

    def count_step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counting(run: Callable[[Job[Any]], Any]) -> Callable[[Job[Any]], Any]:
        def count(job: Job[Any]) -> Any:
            nonlocal requests
            requests += 1
            return run(lambda connection: _run_counting_steps(connection, count_step, job))

        return count

    pool: Any = adapter.native
    pool.read, pool.write = counting(pool.read), counting(pool.write)
    try:
        yield lambda: Cost(requests=requests, reads=steps)
    finally:
        del pool.read, pool.write


def _run_counting_steps(connection: sqlite3.Connection, count_step: Callable[[], int], job: Job[Any]) -> Any:
    connection.set_progress_handler(count_step, 1)
    try:
        return job(connection)
    finally:
        connection.set_progress_handler(None, 0)
