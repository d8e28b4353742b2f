"""What core finds through the entry points."""

from __future__ import annotations

from dataclasses import dataclass

from session_continuity import CONTRACT, Capabilities, Mode, StorageAdapter
from session_continuity_redis.config import ClusterOptions, RedisOptions, SentinelOptions, UnixOptions, capabilities


@dataclass(frozen=True, slots=True)
class RedisPlugin:
    """One scheme."""

    scheme: str
    options: type[RedisOptions]
    api_version: tuple[int, int] = CONTRACT
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    probe: str = "session_continuity_redis.probe:probe"

    def capabilities(self, options: RedisOptions) -> Capabilities:
        return capabilities(options.max_message_bytes)

    def create(self, options: RedisOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_redis.adapter import RedisStorage
        from session_continuity_redis.wire import Wire, opener

        wire = Wire(
            opener(self.scheme, options, mode),
            mode,
            clustered=isinstance(options, ClusterOptions),
            connections=options.max_connections,
            patience=options.timeout,
        )
        return RedisStorage(
            wire,
            namespace=options.namespace,
            prefix=options.prefix,
            grace=options.grace,
            index_parts=options.index_parts,
            max_message_bytes=options.max_message_bytes,
        )


redis = RedisPlugin("redis", RedisOptions)
rediss = RedisPlugin("rediss", RedisOptions)
unix = RedisPlugin("unix", UnixOptions)
cluster = RedisPlugin("redis+cluster", ClusterOptions)
sentinel = RedisPlugin("redis+sentinel", SentinelOptions)
