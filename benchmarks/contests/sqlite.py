"""The SQLite store against the standard library's sqlite3, each in a file of its own."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from benchmarks.lines.sqlite import SqliteLine
from benchmarks.measure import Contest
from benchmarks.subject import subjects


@asynccontextmanager
async def contests(*_: object) -> AsyncIterator[list[Contest]]:
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        connection = opened.enter_context(closing(sqlite3.connect(folder / "line.db", isolation_level=None)))
        stores = await subjects(opened, lambda name: f"sqlite:///{folder}/{name}.db")
        yield [Contest("sqlite", "sqlite3 by hand", [SqliteLine(connection), *stores])]
