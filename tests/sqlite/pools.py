"""The connections of a store under test, and the statements that run on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from session_continuity import StorageAdapter, innermost
from session_continuity_sqlite import SqliteStorage
from session_continuity_sqlite.pool import ConnectionPool


def pool_of(store: StorageAdapter) -> ConnectionPool:
    """The connection pool of the SqliteStorage inside core's layer."""
    adapter = innermost(store)
    assert isinstance(adapter, SqliteStorage)
    return adapter.native


@contextmanager
def traced(store: StorageAdapter) -> Iterator[list[str]]:
    """Every statement that the store runs meanwhile, with its parameters in place."""
    statements: list[str] = []
    pool_of(store).read(lambda connection: connection.set_trace_callback(statements.append))
    try:
        yield statements
    finally:
        pool_of(store).read(lambda connection: connection.set_trace_callback(None))


def verbs(statements: list[str]) -> list[str]:
    """The first word of each statement."""
    return [statement.split()[0] for statement in statements]
