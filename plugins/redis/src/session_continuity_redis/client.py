"""`ScriptClient`: sends scripts and commands by any of redis-py's clients: sync or asyncio, single node or cluster."""

from __future__ import annotations

import asyncio
import codecs
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import redis
import redis.asyncio
import redis.asyncio.client
import redis.client
import redis.cluster
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError, MaxConnectionsError, NoScriptError, ResponseError, TimeoutError

from session_continuity import (
    ConfigError,
    FirstLoop,
    LoopBound,
    Mode,
    StorageClosedError,
    StorageError,
    UnavailableError,
    backoff,
    sleeper,
)
from session_continuity_redis.errors import COMPLETED
from session_continuity_redis.scripts import Script

Argument = str | int | bytes
Client = Any
"""One of redis-py's clients. They have no type in common."""

PATIENCE = 5.0
CONNECTIONS = 100
"""How many connections a client of redis-py opens at most if it is not told."""

_CLIENTS = (redis.Redis, redis.RedisCluster, redis.asyncio.Redis, redis.asyncio.RedisCluster)
_PIPELINES = (redis.client.Pipeline, redis.cluster.ClusterPipeline, redis.asyncio.client.Pipeline)

_RAW: dict[str, Any] = {NEVER_DECODE: []}
"""The option by which replies come as bytes, also from an application's client that decodes them. It could not read a
reply with one damaged text, and its error would quote the reply."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.02


class Age(int):
    """The age of a request: 0 when it is sent for the first time, then the milliseconds since that.

    redis-py encodes the arguments of a command for every attempt anew. So a script that is sent again, by redis-py's
    own retries too, learns that an earlier attempt may have run, and for how long others may have been active since.
    """

    _first: float | None = None
    _attempts = 0

    def __repr__(self) -> str:
        now = time.monotonic()
        self._attempts += 1
        if self._first is None:
            self._first = now
            return "0"
        return str(1 + int((now - self._first) * 1000))

    __str__ = __repr__

    @property
    def is_resent(self) -> bool:
        """Whether it was sent again, so that an earlier attempt may have run."""
        return self._attempts > 1

    def withdraw(self) -> None:
        """Count the last attempt as not made: the server said that it ran nothing. Attempts before it may have run."""
        self._attempts -= 1
        if self._attempts == 0:
            self._first = None


class Call(NamedTuple):
    """One script, on keys of one slot."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def by_digest(self) -> tuple[Argument, ...]:
        """The command for a server that has the script already."""
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments)

    def by_source(self) -> tuple[Argument, ...]:
        """The command for any server, which then keeps the script."""
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.arguments)


class Command(NamedTuple):
    """One command on one key, which is its first argument."""

    name: str
    key: str
    arguments: Sequence[Argument]

    def words(self) -> tuple[Argument, ...]:
        """The command as it is sent."""
        return (self.name, self.key, *self.arguments)


class ScriptClient:
    """Sends scripts and commands. In blocking mode nothing suspends.

    `open` opens redis-py's clients at the first use: the one that serves, and then others that must be closed with it.
    In async mode it opens them for each event loop that calls. They are closed by `close` if they are `owned`. A client
    that is not owned serves one event loop. `connections` is how many connections a cluster's client may open to each
    node. A call that finds all connections in use waits up to `patience` seconds for one.
    """

    def __init__(
        self,
        open: Callable[[], Sequence[Client]],
        mode: Mode,
        *,
        clustered: bool,
        connections: int = CONNECTIONS,
        owned: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self.mode: Mode = mode
        self.clustered = clustered
        self.round_trips = 0
        # A cluster's client that has no free connection takes the cluster for broken. It then asks for the nodes again
        # and closes the connections of the calls that are running. One connection is left for its own requests.
        self._most = max(1, connections - 1) if clustered else None
        self._open = open
        self._owned = owned
        self._wait = _wait_async if mode == "async" else _wait_blocking
        self._sleep = sleeper(mode)
        self._patience = patience
        self._by_loop = LoopBound(self._open_in_loop, _close_in_loop) if mode == "async" and owned else None
        self._first_loop = FirstLoop()
        self._clients: Sequence[Client] = ()
        self._running: set[object] = set()
        self._closed = False
        self._lock = threading.Lock()

    async def run(self, call: Call) -> Any:
        """Run a script in one round trip, or in two if the server does not have the script yet."""
        return await self._request(partial(self._evaluate, call))

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run several scripts in one round trip. Raises the first error."""
        if len(calls) == 1:
            return [await self.run(calls[0])]
        replies = await self._pipeline([(call.keys[0], call.by_digest()) for call in calls])
        for number, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                replies[number] = await self.run(calls[number])
            elif isinstance(reply, BaseException):
                raise reply
        return replies

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands in one round trip. Raises the first error."""
        replies = await self._pipeline([(command.key, command.words()) for command in commands])
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    async def info(self) -> list[dict[str, Any]]:
        """What INFO returns on every primary."""
        if not self.clustered:
            return [await self._request(lambda client: self._wait(client.info("all")))]
        reply = await self._request(lambda client: self._wait(client.info("all", target_nodes="primaries")))
        return list(reply.values()) if reply and isinstance(next(iter(reply.values())), dict) else [reply]

    async def config(self, name: str) -> str | None:
        """One setting of a server, or None: managed services refuse the command."""
        options = {"target_nodes": "random"} if self.clustered else {}
        try:
            reply = await self._request(lambda client: self._wait(client.config_get(name, **options)))
        except ResponseError:
            return None
        return str(reply[name])

    async def check_service(self) -> None:
        """Raise StorageError if a Sentinel answers, and none knows the service whose primary was not found."""
        primary, *sentinels = await self._native_all()
        known: set[str] = set()
        for sentinel in sentinels:
            with suppress(ConnectionError, TimeoutError):
                known.update(map(str, await self._wait(sentinel.sentinel_masters())))
        service = primary.connection_pool.service_name
        if known and service not in known:
            raise StorageError(f"the Sentinels do not know the service {service!r}, but {', '.join(sorted(known))}")

    async def close(self) -> None:
        """Close the clients that are owned. Later calls raise StorageClosedError, and running ones UnavailableError."""
        with self._lock:
            clients, self._clients = self._clients, ()
            self._closed = True
        if self._by_loop is not None:
            await self._by_loop.close()
        for client in clients if self._owned else ():
            await self._close_client(client)

    async def _close_client(self, client: Client) -> None:
        await self._wait(client.aclose() if self.mode == "async" else client.close())

    async def _request(self, send: Callable[[Client], Awaitable[Any]]) -> Any:
        """Send a request as soon as a connection is free. redis-py's own waiting pools cost more on every call."""
        error: BaseException | None = None
        async for _ in backoff(self._sleep, deadline=self._patience, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE):
            client = await self._native()
            try:
                return await self._send(client, send)
            except MaxConnectionsError as full:
                error = full
        assert error is not None
        raise error

    async def _send(self, client: Client, send: Callable[[Client], Awaitable[Any]]) -> Any:
        # A signal's handler may raise between any two steps, also in `finally`. A thread's next call replaces the rest.
        call = object() if self.mode == "async" else threading.get_ident()
        try:
            self._running.add(call)
            if self._most is not None and len(self._running) > self._most:
                raise MaxConnectionsError("all connections are in use")
            self.round_trips += 1
            return await send(client)
        except COMPLETED as error:
            self._check_open(error)
            raise
        except Exception as error:
            self._renew(client)
            self._check_open(error)
            raise
        except BaseException:
            self._renew(client)
            raise
        finally:
            self._running.discard(call)
            if self._closed and self._owned:  # redis-py may have connected again to repeat the request
                await self._close_client(client)

    def _check_open(self, error: Exception) -> None:
        if self._closed:
            raise UnavailableError("the store was closed during this call, whose outcome is unknown") from error

    async def _evaluate(self, call: Call, client: Client) -> Any:
        try:
            return await self._wait(client.execute_command(*call.by_digest(), **_RAW))
        except NoScriptError:
            self.round_trips += 1
            for argument in call.arguments:
                if isinstance(argument, Age):
                    argument.withdraw()
            return await self._wait(client.execute_command(*call.by_source(), **_RAW))

    async def _pipeline(self, requests: Sequence[tuple[str, tuple[Argument, ...]]]) -> list[Any]:
        if self.clustered and self.mode == "async":
            await (await self._native()).initialize()
        replies: list[Any] = await self._request(partial(self._send_pipeline, requests))
        return replies

    async def _send_pipeline(self, requests: Sequence[tuple[str, tuple[Argument, ...]]], client: Client) -> Any:
        pipeline = client.pipeline() if self.clustered else client.pipeline(transaction=False)
        for key, words in requests:
            # Without its node, a cluster's pipeline asks the server for the keys of every script.
            options = {"target_nodes": [client.get_node_from_key(key)]} if self.clustered else {}
            pipeline.execute_command(*words, **options, **_RAW)
        return await self._wait(pipeline.execute(raise_on_error=False))

    def _renew(self, client: Client) -> None:
        """Begin with new connections, in place of those that no call uses and of the one of this call.

        Ctrl-C, or an exception from a signal's handler, may interrupt a blocking client between a request and its
        reply. The connection's next user would read the reply as its own. Or it may interrupt the pool, which never
        gets the connection back. Connections of other calls go on, and are dropped at their end. Async clients prevent
        this themselves.
        """
        if self.mode == "async":
            return
        is_alone = self._owned and len(self._running) == 1
        nodes = [node.redis_connection for node in client.get_nodes()] if self.clustered else [client]
        for each in filter(None, nodes):
            each.connection_pool.disconnect(inuse_connections=is_alone)
            each.connection_pool.reset()
            if each.connection is not None:  # a client may have one connection of its own and not use the pool
                each.connection.disconnect()

    async def _native(self) -> Client:
        return (await self._native_all())[0]

    async def _native_all(self) -> Sequence[Client]:
        if self._by_loop is not None:
            return await self._by_loop.get()
        if self.mode == "async":
            self._first_loop.check()
        return self._clients or self._open_once()

    def _open_once(self) -> Sequence[Client]:
        with self._lock:
            if self._closed:
                raise StorageClosedError
            if not self._clients:
                self._clients = self._open()
            return self._clients

    async def _open_in_loop(self) -> Sequence[Client]:
        return self._open()


async def _close_in_loop(clients: Sequence[Client]) -> None:
    for client in clients:
        await client.aclose()


async def _wait_async(value: Awaitable[Any]) -> Any:
    """Await the value, and raise a cancellation that arrives meanwhile.

    redis-py sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes when the data
    has just been sent.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        return await value
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


async def _wait_blocking(value: Any) -> Any:
    return value


def client_of(native: Client) -> ScriptClient:
    """The ScriptClient of a client that the application opened, and will close.

    Raises ConfigError if it is not one of redis-py's, or if it does not write UTF-8.
    """
    if not isinstance(native, _CLIENTS) or isinstance(native, _PIPELINES):
        raise ConfigError(
            "a client must be one of redis-py's, sync or asyncio, single node or cluster, "
            f"not {type(native).__name__}; to open a store by its URL, use open_storage or SessionManager.open"
        )
    encoder: Any = native.get_encoder()
    encoding: str = encoder.encoding
    if codecs.lookup(encoding).name != "utf-8":
        raise ConfigError(f"the client writes text in {encoding}; create it with redis-py's default encoding, utf-8")
    asynchronous = isinstance(native, redis.asyncio.Redis | redis.asyncio.RedisCluster)
    clustered = isinstance(native, redis.RedisCluster | redis.asyncio.RedisCluster)
    return ScriptClient(
        lambda: [native],
        "async" if asynchronous else "blocking",
        clustered=clustered,
        connections=_connections(native) if clustered else CONNECTIONS,
        owned=False,
    )


def _connections(native: Client) -> int:
    """How many connections a cluster's client opens to each node."""
    return native.get_connection_kwargs().get("max_connections") or CONNECTIONS
