"""The memory store against a dictionary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.lines.memory import DictLine
from benchmarks.measure import Contest
from benchmarks.subject import subjects


@asynccontextmanager
async def contests(*_: object) -> AsyncIterator[list[Contest]]:
    async with AsyncExitStack() as opened:
        yield [Contest("memory", "a dict of dicts", [DictLine(), *await subjects(opened, lambda _: "memory://")])]
