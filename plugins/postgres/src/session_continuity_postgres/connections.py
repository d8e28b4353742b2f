"""Connections to the server: those that this store opens, and those of an application."""

from __future__ import annotations

import inspect
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from session_continuity import ConfigError, ConnectionPool, FirstLoop, Mode
from session_continuity_postgres.config import PostgresOptions

R = TypeVar("R")

Row = tuple[Any, ...]
Values = Sequence[Any] | Mapping[str, Any]

PREPARE_AFTER: Final = 3
"""Executions after which a statement is prepared on a connection."""

_INTERVAL = 0.1
_ASK_SERVER = b"SELECT pg_backend_pid()"


class Connection(Protocol):
    """Runs statements. In blocking mode nothing suspends. Raises psycopg's errors."""

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        """The rows of one statement, which is a transaction if none was begun. False never prepares it."""
        raise NotImplementedError


class Connections(Protocol):
    """The connections of a store."""

    mode: Mode

    async def run(self, job: Callable[[Connection], Awaitable[R]]) -> R:
        """Run the job on a connection that no other call uses meanwhile."""
        raise NotImplementedError

    def discard_idle(self) -> None:
        """Close the connections that no call uses, because their server is no longer the right one."""

    async def close(self) -> None:
        """Close what the store opened."""


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncGenerator[None]:
    """Make one transaction of the statements in the block."""
    await connection.fetch(b"BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):  # the connection is broken or busy, and will be closed
            await connection.fetch(b"ROLLBACK")
        raise
    await connection.fetch(b"COMMIT")


class _Pooled:
    """What the pool asks of a psycopg connection of either mode."""

    pgconn: psycopg.pq.abc.PGconn
    patience: float | None = None
    """Seconds that an answer may take. libpq itself waits for ever."""
    _news: select.poll | None = None

    def watch(self, patience: float) -> None:
        """Prepare a new connection for the pool."""
        self.patience = patience
        self._news = select.poll()
        self._news.register(self.pgconn.socket, select.POLLIN)

    def is_alive(self) -> bool:
        """A server says nothing on an idle connection but that it closes it."""
        return self._news is not None and not self._news.poll(0)

    def is_clean(self) -> bool:
        """Whether no statement and no transaction is open."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def discard(self) -> None:
        """Close the connection, whatever it does."""
        self.pgconn.finish()

    def __del__(self, *_: object) -> None:
        # Ctrl-C between two steps of a call can drop a connection. psycopg warns if it was not closed.
        if hasattr(self, "pgconn"):
            self.pgconn.finish()


class BlockingConnection(_Pooled, psycopg.Connection[Row]):
    """A connection for blocking calls."""

    _cursor: psycopg.Cursor[Row] | None = None

    def wait(self, gen: PQGen[Any], interval: float = _INTERVAL, timeout: float | None = None) -> Any:
        """psycopg's method, which every statement waits with, with a limit."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        """The rows of one statement."""
        cursor = self._cursor = self._cursor or self.cursor(binary=True)
        cursor.execute(text, values or None, prepare=prepare)
        return cursor.fetchall() if cursor.description else []


class AsyncConnection(_Pooled, psycopg.AsyncConnection[Row]):
    """A connection for the calls of one event loop."""

    _cursor: psycopg.AsyncCursor[Row] | None = None

    async def wait(
        self,
        gen: PQGen[Any],
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109  # psycopg's own parameter
    ) -> Any:
        """psycopg's method, which every statement waits with, with a limit."""
        return await super().wait(gen, interval, self.patience if timeout is None else timeout)

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        """The rows of one statement."""
        cursor = self._cursor = self._cursor or self.cursor(binary=True)
        await cursor.execute(text, values or None, prepare=prepare)
        return await cursor.fetchall() if cursor.description else []


class OwnedConnections:
    """A pool of connections by the options of a URL."""

    def __init__(self, options: PostgresOptions, mode: Mode) -> None:
        self.mode: Mode = mode
        self._options = options
        self.arguments = _arguments(options)
        """The parameters of `psycopg.connect`."""
        self._prepare = options.prepare
        self._pool: ConnectionPool[BlockingConnection | AsyncConnection] = ConnectionPool(
            mode, self._open, limit=options.max_connections, patience=options.timeout
        )

    async def run(self, job: Callable[[Connection], Awaitable[R]]) -> R:
        """Run the job on a connection that no other call uses meanwhile."""
        return await self._pool.run(job)

    def discard_idle(self) -> None:
        """Close the connections that no call uses."""
        self._pool.discard_idle()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _open(self) -> BlockingConnection | AsyncConnection:
        connection: BlockingConnection | AsyncConnection
        if self.mode == "async":
            connection = await AsyncConnection.connect(**self.arguments)
        else:
            connection = BlockingConnection.connect(**self.arguments)
        connection.watch(self._options.timeout)
        if self._prepare is None:
            # A pooler such as PgBouncer gives its clients numbers of its own, and may send each transaction over
            # another connection, where a statement's name is unknown, or another client's statement.
            try:
                self._prepare = await connection.fetch(_ASK_SERVER) == [(connection.info.backend_pid,)]
            except BaseException:
                connection.discard()
                raise
        connection.prepare_threshold = PREPARE_AFTER if self._prepare else None
        return connection


def _arguments(options: PostgresOptions) -> dict[str, Any]:
    """The parameters of `psycopg.connect`."""
    addresses = options.addresses()
    stated: dict[str, Any] = {
        "user": options.user,
        "password": None if options.password is None else options.password.get_secret_value(),
        "dbname": options.database,
        "sslmode": options.sslmode,
        "sslrootcert": options.sslrootcert,
        "sslcert": options.sslcert,
        "sslkey": options.sslkey,
        "connect_timeout": max(2, round(options.connect_timeout)),
        "application_name": "session-continuity",
        "client_encoding": "UTF8",
    }
    if addresses is not None:
        stated["host"], stated["port"] = addresses
        if "," in addresses[0]:
            stated["target_session_attrs"] = "read-write"
    given = {name: value for name, value in stated.items() if value is not None}
    return {**given, "autocommit": True, "prepare_threshold": None, "row_factory": tuple_row}


class ApplicationConnections:
    """A connection or a psycopg_pool pool of the application, which also closes it.

    A connection must be in autocommit mode. In a transaction that the application has begun, writes would wait for its
    end, and so would every other writer of these sessions. An asyncio connection or pool serves one event loop.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_pool = hasattr(client, "getconn")
        self.mode: Mode = "async" if _is_async(client) else "blocking"
        if not self._is_pool and not client.autocommit:
            raise ConfigError("the connection would begin a transaction and not end it; open it with autocommit=True")
        self._loop = FirstLoop()

    async def run(self, job: Callable[[Connection], Awaitable[R]]) -> R:
        """Run the job on the connection, or on one of the pool."""
        if self.mode == "async":
            self._loop.check()
        if not self._is_pool:
            return await job(_borrowed(self._client))
        if self.mode == "async":
            async with self._client.connection() as connection:
                return await job(_borrowed(connection))
        with self._client.connection() as connection:
            return await job(_borrowed(connection))

    def discard_idle(self) -> None:
        """The application decides about its connections."""

    async def close(self) -> None:
        """The application closes its connections."""


def _is_async(client: Any) -> bool:
    if isinstance(client, psycopg.Connection | psycopg.AsyncConnection):
        return isinstance(client, psycopg.AsyncConnection)
    if not hasattr(client, "getconn") or not hasattr(client, "connection"):
        raise ConfigError(
            "PostgresStorage takes a connection of psycopg or a pool of psycopg_pool, "
            f"not {type(client).__name__}; to open a store by its URL, use open_storage or SessionManager.open"
        )
    return inspect.iscoroutinefunction(client.getconn)


def _borrowed(connection: Any) -> Connection:
    """The connection of an application as one of this store."""
    if connection.info.encoding != "utf-8":
        raise ConfigError("the connection's client_encoding is not UTF8; set it to UTF8")
    is_async = isinstance(connection, psycopg.AsyncConnection)
    return (_BorrowedAsync if is_async else _Borrowed)(connection)


class _Borrowed:
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        with self._connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            cursor.execute(text, values or None, prepare=prepare)
            return cursor.fetchall() if cursor.description else []


class _BorrowedAsync:
    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def fetch(self, text: bytes, values: Values = (), *, prepare: bool | None = None) -> list[Row]:
        async with self._connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            await cursor.execute(text, values or None, prepare=prepare)
            return await cursor.fetchall() if cursor.description else []
