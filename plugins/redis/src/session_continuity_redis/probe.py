"""What calls cost: the round trips of one adapter. Imported by those who ask, never on a serving path."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from session_continuity import ConfigError, Cost, StorageAdapter
from session_continuity_redis.adapter import RedisStorage


@contextmanager
def probe(adapter: StorageAdapter) -> Generator[Callable[[], Cost]]:
    """Count the commands and pipelines that the adapter sends. Raises ConfigError for another store's adapter."""
    if not isinstance(adapter, RedisStorage):
        raise ConfigError(f"this probe counts the round trips of a RedisStorage, not of {type(adapter).__name__}")
    client = adapter.native
    pipelines = client.pipeline
    requests = 0

    def counted(send: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            nonlocal requests
            requests += 1
            return send(*args, **options)

        return count

    def pipeline(*args: Any, **options: Any) -> Any:
        made = pipelines(*args, **options)
        made.execute = counted(made.execute)
        return made

    client.execute_command, client.pipeline = counted(client.execute_command), pipeline
    try:
        yield lambda: Cost(requests=requests)
    finally:
        del client.execute_command, client.pipeline
