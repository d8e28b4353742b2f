"""How scripts and commands reach the servers: one wire for redis-py's four clients, sync and asyncio, single node and
cluster. And how these clients are opened."""

from __future__ import annotations

import asyncio
import codecs
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import redis
import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.client
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import MaxConnectionsError, NoScriptError, ResponseError

from session_continuity import ConfigError, Mode, StorageClosedError, sleeper
from session_continuity_redis.config import ClusterOptions, RedisOptions, SentinelOptions, UnixOptions
from session_continuity_redis.errors import BACKEND
from session_continuity_redis.scripts import Script

Argument = str | int | bytes
Client = Any
"""One of redis-py's clients; their sync and asyncio faces have no common type."""

PATIENCE = 5.0
CONNECTIONS = 100
"""What redis-py opens at most where nothing else is said."""

_CLIENTS = (redis.Redis, redis.RedisCluster, redis.asyncio.Redis, redis.asyncio.RedisCluster)
_PIPELINES = (redis.client.Pipeline, redis.cluster.ClusterPipeline, redis.asyncio.client.Pipeline)

_BACKOFF = {"base": 0.02, "cap": 1.0}


class Call(NamedTuple):
    """One script on keys of one slot."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def by_digest(self) -> tuple[Argument, ...]:
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.arguments)

    def by_source(self) -> tuple[Argument, ...]:
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.arguments)


class Command(NamedTuple):
    """One plain command on one key, which is its first argument."""

    name: str
    key: str
    arguments: Sequence[Argument]

    def words(self) -> tuple[Argument, ...]:
        return (self.name, self.key, *self.arguments)


class _Seats:
    """Room for so many calls at once. A cluster's client that runs out of connections takes the cluster for broken: it
    asks for the nodes anew, and closes the connections of the calls that are under way."""

    def __init__(self, count: int) -> None:
        self._free = deque(range(count))

    def __enter__(self) -> None:
        try:
            self._free.pop()
        except IndexError:
            raise MaxConnectionsError("all connections are in use") from None

    def __exit__(self, *_: object) -> None:
        self._free.append(0)


class Wire:
    """`open` gives the clients, at the first use: the one that serves, then those that only have to be closed with it.
    `connections` is how many a cluster's client has for each node. Who finds all connections in use waits for one, up
    to `patience` seconds. In blocking mode nothing suspends."""

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
        # one connection is left for the client's own questions
        self._seat = _Seats(max(1, connections - 1)) if clustered else nullcontext()
        self._open = open
        self._owned = owned
        self._wait = _awaited if mode == "async" else _as_is
        self._sleep = sleeper(mode)
        self._patience = patience
        self._client: Client | None = None
        self._clients: Sequence[Client] = ()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def native(self) -> Client:
        """The client, opened if it was not yet. Raises StorageClosedError after `close`."""
        return self._client or self._opened()

    async def run(self, call: Call) -> Any:
        """One script, one round trip; one more when the server has forgotten the script."""
        client = self._client or self._opened()
        deadline: float | None = None
        while True:
            try:
                with self._seat:
                    try:
                        return await self._wait(client.execute_command(*call.by_digest()))
                    except NoScriptError:
                        return await self._wait(client.execute_command(*call.by_source()))
            except MaxConnectionsError as full:
                deadline = await self._queue(deadline, full)

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Several scripts in one round trip; raises the first error."""
        if len(calls) == 1:
            return [await self.run(calls[0])]
        answers = await self._pipelined([(call.keys[0], call.by_digest()) for call in calls])
        for number, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                answers[number] = await self.run(calls[number])
            elif isinstance(answer, BaseException):
                raise answer
        return answers

    async def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one round trip; raises the first error."""
        answers = await self._pipelined([(command.key, command.words()) for command in commands])
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def info(self) -> list[dict[str, Any]]:
        """What every primary says of itself."""
        client = self._client or self._opened()
        if not self.clustered:
            return [await self._wait(client.info("all"))]
        told = await self._wait(client.info("all", target_nodes="primaries"))
        return list(told.values()) if told and isinstance(next(iter(told.values())), dict) else [told]

    async def config(self, name: str) -> str | None:
        """One setting of a server, None where it does not tell: managed services refuse the command."""
        client = self._client or self._opened()
        options = {"target_nodes": "random"} if self.clustered else {}
        try:
            told = await self._wait(client.config_get(name, **options))
        except ResponseError:
            return None
        return str(told[name])

    def hang_up(self) -> None:
        """Close the connections that nobody uses. Ctrl-C, or an exception that a signal raised, may strike a blocking
        client between a question and its answer; the answer then waits on a connection that is free again, where the
        next call would take it for its own. Async clients see to that themselves."""
        if self._client is None or self.mode == "async":
            return
        nodes = [node.redis_connection for node in self._client.get_nodes()] if self.clustered else [self._client]
        for client in filter(None, nodes):
            client.connection_pool.disconnect(inuse_connections=False)
            if client.connection is not None:  # one of its own, in place of the pool's
                client.connection.disconnect()

    async def close(self) -> None:
        with self._lock:
            clients, self._client, self._clients = self._clients, None, ()
            self._closed = True
        for client in clients if self._owned else ():
            await self._wait(client.aclose() if self.mode == "async" else client.close())

    async def _pipelined(self, requests: Sequence[tuple[str, tuple[Argument, ...]]]) -> list[Any]:
        client = self._client or self._opened()
        if self.clustered and self.mode == "async":
            await client.initialize()
        deadline: float | None = None
        while True:
            pipeline = client.pipeline() if self.clustered else client.pipeline(transaction=False)
            for key, words in requests:
                # without its node, the cluster's pipeline asks the server for the keys of every script
                options = {"target_nodes": [client.get_node_from_key(key)]} if self.clustered else {}
                pipeline.execute_command(*words, **options)
            try:
                with self._seat:
                    answers: list[Any] = await self._wait(pipeline.execute(raise_on_error=False))
            except MaxConnectionsError as full:
                deadline = await self._queue(deadline, full)
            else:
                return answers

    async def _queue(self, deadline: float | None, full: MaxConnectionsError) -> float:
        """Wait a little for a connection, until the deadline that the first wait sets; redis-py's pools that wait cost
        more on every call."""
        now = time.monotonic()
        if deadline is not None and now > deadline:
            raise full
        await self._sleep(random.uniform(0.001, 0.01))
        return deadline or now + self._patience

    def _opened(self) -> Client:
        with self._lock:
            if self._closed:  # while the call that asks was under way
                raise StorageClosedError(backend=BACKEND, operation="open")
            if self._client is None:
                self._clients = self._open()
                self._client = self._clients[0]
            return self._client


async def _awaited(value: Awaitable[Any]) -> Any:
    """The value or its error, or the cancellation that was asked for meanwhile: before Python 3.12 `asyncio.wait_for`,
    through which redis-py sends, loses one that comes when the data is out."""
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    try:
        return await value
    finally:
        if task and task.cancelling() > asked:
            raise asyncio.CancelledError


async def _as_is(value: Any) -> Any:
    return value


def wire_of(client: Client) -> Wire:
    """The wire of a client that somebody else opened and will close. Raises ConfigError for one that cannot serve."""
    if not isinstance(client, _CLIENTS) or isinstance(client, _PIPELINES):
        raise ConfigError(
            f"a client is one of redis-py's, sync or asyncio, single node or cluster, not {type(client).__name__}; "
            "to open a store by its URL, use open_storage or SessionManager.open"
        )
    encoder: Any = client.get_encoder()
    encoding: str = encoder.encoding
    if codecs.lookup(encoding).name != "utf-8":
        raise ConfigError(f"the client writes text in {encoding}; make it with the encoding that redis-py has, utf-8")
    asynchronous = isinstance(client, redis.asyncio.Redis | redis.asyncio.RedisCluster)
    clustered = isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster)
    return Wire(
        lambda: [client],
        "async" if asynchronous else "blocking",
        clustered=clustered,
        connections=_connections(client) if clustered else CONNECTIONS,
        owned=False,
    )


def _connections(client: Client) -> int:
    """How many connections a cluster's client opens to each node."""
    return client.get_connection_kwargs().get("max_connections") or CONNECTIONS


def opener(scheme: str, options: RedisOptions, mode: Mode) -> Callable[[], Sequence[Client]]:
    """What opens the clients that the options describe."""
    if isinstance(options, ClusterOptions):
        return lambda: [_cluster(options, mode)]
    if isinstance(options, SentinelOptions):
        return lambda: _by_sentinel(options, mode)
    return lambda: [_single(options, mode, tls=scheme == "rediss")]


def _single(options: RedisOptions, mode: Mode, *, tls: bool) -> Client:
    module: Any = redis.asyncio if mode == "async" else redis
    kinds: Any = module.connection
    stated: dict[str, Any] = {**_connection(options, mode), "db": options.db}
    if isinstance(options, UnixOptions):
        stated |= {"connection_class": kinds.UnixDomainSocketConnection, "path": options.path}
    else:
        stated |= {"host": options.host, "port": options.port}
        stated |= {"connection_class": kinds.SSLConnection, **_tls(options)} if tls else {}
    return module.Redis.from_pool(module.ConnectionPool(max_connections=options.max_connections, **stated))


def _cluster(options: ClusterOptions, mode: Mode) -> Client:
    asynchronous = mode == "async"
    kind: Any = redis.asyncio.RedisCluster if asynchronous else redis.RedisCluster
    node: Any = redis.asyncio.cluster.ClusterNode if asynchronous else redis.cluster.ClusterNode
    return kind(
        startup_nodes=[node(host, port) for host, port in options.nodes()],
        max_connections=options.max_connections,
        **_connection(options, mode),
        **({"ssl": True, **_tls(options)} if options.tls else {}),
    )


def _by_sentinel(options: SentinelOptions, mode: Mode) -> Sequence[Client]:
    kind: Any = redis.asyncio.sentinel.Sentinel if mode == "async" else redis.sentinel.Sentinel
    tls = {"ssl": True, **_tls(options)} if options.tls else {}
    password = options.sentinel_password
    timeouts = {"socket_timeout": options.timeout, "socket_connect_timeout": options.connect_timeout}
    watch = {**timeouts, **tls, **({"password": password.get_secret_value()} if password else {})}
    sentinels = kind(options.nodes(), sentinel_kwargs=watch, **_connection(options, mode), **tls)
    primary = sentinels.master_for(options.service, db=options.db, max_connections=options.max_connections)
    return [primary, *sentinels.sentinels]


def _connection(options: RedisOptions, mode: Mode) -> dict[str, Any]:
    retry: Any = redis.asyncio.retry.Retry if mode == "async" else redis.retry.Retry
    return {
        "username": options.username,
        "password": None if options.password is None else options.password.get_secret_value(),
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.connect_timeout,
        "retry": retry(ExponentialWithJitterBackoff(**_BACKOFF), options.retries),
    }


def _tls(options: RedisOptions) -> dict[str, Any]:
    return {"ssl_ca_certs": options.tls_ca, "ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
