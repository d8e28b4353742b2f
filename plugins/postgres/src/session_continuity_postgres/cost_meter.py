"""Counts what calls cost: an adapter's round trips, and the rows that the server reads in them.

Nothing that serves calls imports this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_postgres.adapter import PostgresStorage
from session_continuity_postgres.connections import Connection, Row, Values, transaction

# The server's count goes on from earlier transactions of the connection, so only differences count.
_READS = b"SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_xact_user_tables"


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count what the adapter does. Raises ConfigError for another store's adapter.

    Each statement runs in a transaction with the server's counters around it. Before the first, the tables get their
    statistics, as the server makes them by itself within a minute after a table has grown. So does the table of
    sessions after each look at the cost: more of them may be created between two looks.
    """
    if not isinstance(adapter, PostgresStorage):
        raise ConfigError(f"this cost meter counts what a PostgresStorage does, not a {type(adapter).__name__}")
    connections: Any = adapter.native.connections
    schema = adapter.native.schema
    run = connections.run
    messages, sessions = (f"ANALYZE {schema}.{table}".encode() for table in ("messages", "sessions"))
    meter = _Meter([sessions, messages])

    async def counting(job: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def count(connection: Connection) -> Any:
            return await job(_CountingConnection(connection, meter))

        return await run(count)

    def spent() -> Cost:
        meter.preparations = [sessions]
        return Cost(requests=meter.requests, reads=meter.reads)

    connections.run = counting
    try:
        yield spent
    finally:
        del connections.run


class _Meter:
    def __init__(self, preparations: list[bytes]) -> None:
        self.preparations = preparations
        self.requests = 0
        self.reads = 0


class _CountingConnection:
    def __init__(self, connection: Connection, meter: _Meter) -> None:
        self._connection = connection
        self._meter = meter

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        meter, connection = self._meter, self._connection
        while meter.preparations:
            await connection.fetch(meter.preparations.pop())
        async with transaction(connection):
            before = (await connection.fetch(_READS))[0][0]
            rows = await connection.fetch(text, values, prepare=prepare)
            meter.requests += 1
            meter.reads += (await connection.fetch(_READS))[0][0] - before
        return rows
