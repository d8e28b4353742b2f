"""Calls of one async adapter from several event loops, each in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

PATIENCE = 60.0
"""The seconds within which every loop must have begun."""

Work = Callable[[], Coroutine[Any, Any, object]]


async def one_after_the_other(*works: Work) -> None:
    """Do each piece of work in an event loop that ends with it, as `asyncio.run` is used by a task queue."""
    for work in works:
        await asyncio.to_thread(_run, work)


async def at_once(*works: Work) -> None:
    """Do each piece of work in an event loop, all of them at the same time."""
    start = threading.Barrier(len(works), timeout=PATIENCE)
    await asyncio.gather(*(asyncio.to_thread(partial(_run, work, start.wait)) for work in works))


def _run(work: Work, wait: Callable[[], object] = lambda: None) -> None:
    wait()
    asyncio.run(_in_task(work))


async def _in_task(work: Work) -> object:
    return await work()
