"""The Redis store compared with redis-py by hand, sync and asyncio, and with openai-agents, on one server."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import redis
import redis.asyncio
from tests.kit.redis_servers import NEEDED, Server, find_engines

from benchmarks.measure import Comparison
from benchmarks.proxy import delayed
from benchmarks.setup import Setup
from benchmarks.subjects.by_hand import FASTEST, STANDARD
from benchmarks.subjects.openai_agents import OpenAIAgentsSubject
from benchmarks.subjects.redis import AsyncRedisLine, RedisLine
from benchmarks.subjects.store import open_subjects
from benchmarks.subjects.subject import Subject

LINE = f"one JSON text for each message, read by orjson, redis-py {redis.__version__}"


@asynccontextmanager
async def open_comparisons(setup: Setup) -> AsyncIterator[list[Comparison]]:
    with _server(setup.url) as server, delayed(server, setup.latency) as at:
        async with AsyncExitStack() as opened:
            client = opened.enter_context(redis.Redis.from_url(at))
            awaited = await opened.enter_async_context(redis.asyncio.Redis.from_url(at))
            blocking: list[Subject] = [RedisLine(client, library) for library in (FASTEST, STANDARD)]
            asynchronous: list[Subject] = [AsyncRedisLine(awaited, library) for library in (FASTEST, STANDARD)]
            blocking += await open_subjects(opened, lambda name: f"{at}?namespace={name}")
            asynchronous += await open_subjects(opened, lambda name: f"{at}?namespace={name}", "async")
            if setup.peers:
                asynchronous.append(OpenAIAgentsSubject(client=awaited))
            yield [Comparison("redis", LINE, blocking), Comparison("redis asyncio", LINE, asynchronous)]


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    program = next(iter(find_engines().values()), None)
    if program is None:
        raise SystemExit(NEEDED)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, Path(folder)).start()
        try:
            yield server.url
        finally:
            server.stop()
