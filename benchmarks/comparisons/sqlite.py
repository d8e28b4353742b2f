"""The SQLite store compared with sqlite3 by hand and with openai-agents, each in its own file."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from benchmarks.measure import Comparison
from benchmarks.setup import Setup
from benchmarks.subjects.by_hand import FASTEST, STANDARD
from benchmarks.subjects.openai_agents import OpenAIAgentsSubject
from benchmarks.subjects.sqlite import SqliteLine
from benchmarks.subjects.store import open_subjects
from benchmarks.subjects.subject import Subject


@asynccontextmanager
async def open_comparisons(setup: Setup) -> AsyncIterator[list[Comparison]]:
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        subjects: list[Subject] = []
        for library in (FASTEST, STANDARD):
            file = folder / f"{library.name}.db"
            connection = opened.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
            subjects.append(SqliteLine(connection, library))
        subjects += await open_subjects(opened, lambda name: f"sqlite:///{folder}/{name}.db")
        if setup.peers:
            peer = OpenAIAgentsSubject(path=str(folder / "peer.db"))
            subjects.append(opened.enter_context(closing(peer)))
        yield [Comparison("sqlite", "one JSON text for each message, read by orjson", subjects)]
