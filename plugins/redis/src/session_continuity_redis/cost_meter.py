"""What calls cost: the round trips of one adapter. Imported by those who ask, never on a serving path."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_redis.adapter import RedisStorage


@contextmanager
def cost_meter(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count the commands and pipelines that the adapter sends. Raises ConfigError for another store's adapter."""
    if not isinstance(adapter, RedisStorage):
        raise ConfigError(f"this cost meter counts the round trips of a RedisStorage, not of {type(adapter).__name__}")
    begun, ended = adapter.round_trips, list[int]()
    yield lambda: Cost(requests=(ended or [adapter.round_trips])[0] - begun)
    ended.append(adapter.round_trips)
