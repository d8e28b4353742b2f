"""The Redis store against redis-py by hand, sync and asyncio, on one server."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import redis
import redis.asyncio
from tests.redis.servers import NEEDED, Server, engines

from benchmarks.lines.redis import AsyncRedisLine, RedisLine
from benchmarks.measure import Contest
from benchmarks.relay import relayed
from benchmarks.subject import subjects

CLIENT = f"redis-py {redis.__version__} by hand"


@asynccontextmanager
async def contests(url: str | None, latency: float) -> AsyncIterator[list[Contest]]:
    with _server(url) as server, relayed(server, latency) as at:
        async with AsyncExitStack() as opened:
            line = RedisLine(opened.enter_context(redis.Redis.from_url(at)))
            awaited = AsyncRedisLine(await opened.enter_async_context(redis.asyncio.Redis.from_url(at)))
            stores = {
                mode: await subjects(opened, lambda name: f"{at}?namespace={name}", mode)
                for mode in ("blocking", "async")
            }
            yield [
                Contest("redis", CLIENT, [line, *stores["blocking"]]),
                Contest("redis asyncio", CLIENT, [awaited, *stores["async"]]),
            ]


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    program = next(iter(engines().values()), None)
    if program is None:
        raise SystemExit(NEEDED)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, Path(folder)).start()
        try:
            yield server.url
        finally:
            server.stop()
