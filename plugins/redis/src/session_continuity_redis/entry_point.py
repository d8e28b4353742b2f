"""The objects that core finds by the distribution's entry points."""

from __future__ import annotations

from dataclasses import dataclass

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_redis.config import ClusterOptions, RedisOptions, SentinelOptions, UnixOptions, capabilities


@dataclass(frozen=True, slots=True)
class RedisPlugin:
    """The plugin of one URL scheme."""

    scheme: str
    options: type[RedisOptions]
    api_version: tuple[int, int] = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    cost_meter: str = "session_continuity_redis.cost_meter:cost_meter"
    damager: str = "session_continuity_redis.damager:damage"

    def capabilities(self, options: RedisOptions) -> Capabilities:
        return capabilities(options.max_message_bytes, clustered=isinstance(options, ClusterOptions))

    def create(self, options: RedisOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_redis.adapter import RedisStorage
        from session_continuity_redis.client import ScriptClient
        from session_continuity_redis.connecting import open_clients

        client = ScriptClient(
            lambda: open_clients(self.scheme, options, mode),
            mode,
            clustered=isinstance(options, ClusterOptions),
            connections=options.max_connections,
            patience=options.timeout,
        )
        return RedisStorage(
            client,
            namespace=options.namespace,
            prefix=options.prefix,
            grace=options.grace,
            index_parts=options.index_parts,
            max_message_bytes=options.max_message_bytes,
            tls_check=options.tls_check,
        )


redis = RedisPlugin("redis", RedisOptions)
rediss = RedisPlugin("rediss", RedisOptions)
unix = RedisPlugin("unix", UnixOptions)
cluster = RedisPlugin("redis+cluster", ClusterOptions)
sentinel = RedisPlugin("redis+sentinel", SentinelOptions)
