"""What calls cost: the transactions of one adapter, and the steps that SQLite's machine takes in them. Imported by
those who ask, never on a serving path."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_sqlite.adapter import SqliteStorage
from session_continuity_sqlite.wire import Job


@contextmanager
def probe(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter does. Raises ConfigError for another store's adapter."""
    if not isinstance(adapter, SqliteStorage):
        raise ConfigError(f"this probe counts the transactions of a SqliteStorage, not of {type(adapter).__name__}")
    connections = adapter.native
    requests = steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def counted(run: Callable[[str, Job[Any]], Any]) -> Callable[[str, Job[Any]], Any]:
        def count(operation: str, job: Job[Any]) -> Any:
            nonlocal requests
            requests += 1
            return run(operation, lambda connection: _stepping(connection, step, job))

        return count

    watched: Any = connections
    watched.read, watched.write = counted(connections.read), counted(connections.write)
    try:
        yield lambda: Cost(requests=requests, reads=steps)
    finally:
        del watched.read, watched.write


def _stepping(connection: sqlite3.Connection, step: Callable[[], int], job: Job[Any]) -> Any:
    connection.set_progress_handler(step, 1)
    try:
        return job(connection)
    finally:
        connection.set_progress_handler(None, 0)
