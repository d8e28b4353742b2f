"""Writes that end before a cancellation is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["settled"]

R = TypeVar("R")


async def settled(write: Coroutine[Any, Any, R]) -> R:
    """The result of a write. If the caller is cancelled meanwhile, the write ends first, and then the cancellation is
    raised: frameworks read the history after a cancellation and expect a write to be done or not."""
    task = asyncio.ensure_future(write)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        cancellation.add_note(f"the write that was under way failed: {failure}")
    raise cancellation
