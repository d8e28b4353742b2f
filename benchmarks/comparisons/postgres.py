"""The PostgreSQL store compared with psycopg by hand, blocking and asyncio, and with openai-agents, on one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import psycopg
from tests.kit.postgres_servers import MissingServerError, postgres_server

from benchmarks.measure import Comparison
from benchmarks.proxy import delayed
from benchmarks.setup import Setup
from benchmarks.subjects.by_hand import FASTEST, STANDARD
from benchmarks.subjects.openai_agents import OpenAIAgentsSubject
from benchmarks.subjects.postgres import TABLES, AsyncPostgresLine, PostgresLine
from benchmarks.subjects.store import open_subjects
from benchmarks.subjects.subject import Subject

LINE = f"one JSON text for each message, read by orjson, one CTE for an append, psycopg {psycopg.__version__}"


@asynccontextmanager
async def open_comparisons(setup: Setup) -> AsyncIterator[list[Comparison]]:
    with _server(setup.url) as server, delayed(server, setup.latency) as at:
        async with AsyncExitStack() as opened:
            connection = opened.enter_context(psycopg.connect(at, autocommit=True))
            connection.execute(TABLES)
            awaited = await opened.enter_async_context(await psycopg.AsyncConnection.connect(at, autocommit=True))
            blocking: list[Subject] = [PostgresLine(connection, library) for library in (FASTEST, STANDARD)]
            asynchronous: list[Subject] = [AsyncPostgresLine(awaited, library) for library in (FASTEST, STANDARD)]
            blocking += await open_subjects(opened, lambda name: f"{at}?namespace={name}")
            asynchronous += await open_subjects(opened, lambda name: f"{at}?namespace={name}", "async")
            if setup.peers:
                from sqlalchemy.ext.asyncio import create_async_engine  # openai-agents brings it

                engine = create_async_engine(at.replace("postgresql:", "postgresql+psycopg:", 1))
                opened.push_async_callback(engine.dispose)
                asynchronous.append(OpenAIAgentsSubject(engine=engine))
            yield [Comparison("postgres", LINE, blocking), Comparison("postgres asyncio", LINE, asynchronous)]


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    try:
        with postgres_server() as server:
            yield server.url
    except MissingServerError as missing:
        raise SystemExit(str(missing)) from None
