"""The memory store compared with a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.measure import Comparison
from benchmarks.setup import Setup
from benchmarks.subjects.memory import DictLine
from benchmarks.subjects.store import open_subjects


@asynccontextmanager
async def open_comparisons(_: Setup) -> AsyncIterator[list[Comparison]]:
    async with AsyncExitStack() as opened:
        stores = await open_subjects(opened, lambda _: "memory://")
        yield [Comparison("memory", "a dict of dicts", [DictLine(), *stores])]
