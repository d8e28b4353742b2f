"""Opens redis-py's clients for the options of a URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.driver_info import DriverInfo

from session_continuity import Mode
from session_continuity_redis._version import __version__
from session_continuity_redis.client import Client
from session_continuity_redis.config import ClusterOptions, RedisOptions, SentinelOptions, UnixOptions

_BACKOFF = {"base": 0.02, "cap": 1.0}

_DRIVER = DriverInfo().add_upstream_driver("session-continuity-redis", __version__)
"""What CLIENT LIST of a server shows, from Redis 7.2 on.

Without one, redis-py looks up its own version on the disk for each connection, which holds up the event loop.
"""


def open_clients(scheme: str, options: RedisOptions, mode: Mode) -> Sequence[Client]:
    """The client that serves, and after it the clients of Sentinels, which must be closed with it."""
    if isinstance(options, ClusterOptions):
        return [_cluster(options, mode)]
    if isinstance(options, SentinelOptions):
        return _by_sentinel(options, mode)
    return [_single(options, mode, tls=scheme == "rediss")]


def _single(options: RedisOptions, mode: Mode, *, tls: bool) -> Client:
    module: Any = redis.asyncio if mode == "async" else redis
    kinds: Any = module.connection
    arguments: dict[str, Any] = {**_connection(options, mode), "db": options.db, "driver_info": _DRIVER}
    if isinstance(options, UnixOptions):
        arguments |= {"connection_class": kinds.UnixDomainSocketConnection, "path": options.path}
    else:
        arguments |= {"host": options.host, "port": options.port}
        arguments |= {"connection_class": kinds.SSLConnection, **_tls(options)} if tls else {}
    return module.Redis.from_pool(module.ConnectionPool(max_connections=options.max_connections, **arguments))


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
    to_sentinels = {**timeouts, **tls, **({"password": password.get_secret_value()} if password else {})}
    sentinels = kind(
        options.nodes(), sentinel_kwargs=to_sentinels, driver_info=_DRIVER, **_connection(options, mode), **tls
    )
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
    return {
        "ssl_ca_certs": options.tls_ca,
        "ssl_certfile": options.tls_cert,
        "ssl_keyfile": options.tls_key,
        "ssl_check_hostname": options.tls_check == "full",
        "ssl_cert_reqs": "none" if options.tls_check == "none" else "required",
    }
