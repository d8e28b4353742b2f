"""What the tests of all frameworks need of a store: its costs, a gate in front of its appends, two managers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from session_continuity import (
    AsyncSessionManager,
    ForwardingAdapter,
    StorageAdapter,
    as_async,
    default_registry,
    innermost,
)


@asynccontextmanager
async def opened(
    url: str, wrap: Callable[[StorageAdapter], StorageAdapter] = lambda adapter: adapter
) -> AsyncIterator[AsyncSessionManager]:
    """A manager of its own on the store, whose adapter is inside `wrap`."""
    adapter = wrap(as_async(default_registry().create(url, "async")))
    try:
        yield AsyncSessionManager(adapter)
    finally:
        await adapter.close()


class Meter:
    """Counts the requests of one manager to its store."""

    def __init__(self, adapter: StorageAdapter, scheme: str) -> None:
        measure = default_registry().cost_meter(scheme)
        assert measure is not None
        self._measure, self._adapter = measure, innermost(adapter)

    @contextmanager
    def count(self, into: list[int]) -> Iterator[None]:
        """Append the number of requests of the block to the list."""
        with self._measure(self._adapter) as cost:
            yield
            into.append(cost().requests)


@asynccontextmanager
async def metered(url: str) -> AsyncIterator[tuple[AsyncSessionManager, Meter]]:
    """A manager of its own on the store, which has served a call, and a meter of its requests."""
    found: list[StorageAdapter] = []

    def note(adapter: StorageAdapter) -> StorageAdapter:
        found.append(adapter)
        return adapter

    async with opened(url, note) as manager:
        await manager.create_session(id="warm")
        yield manager, Meter(found[0], url.partition(":")[0])


class Gate(ForwardingAdapter):
    """A store whose appends wait at a gate, after they were sent or before."""

    def __init__(self, inner: StorageAdapter) -> None:
        super().__init__(inner)
        self.reached, self.is_open = asyncio.Event(), asyncio.Event()

    async def append_messages(self, *args: Any, **terms: Any) -> Any:
        self.reached.set()
        await self.is_open.wait()
        return await super().append_messages(*args, **terms)


@asynccontextmanager
async def gated(url: str) -> AsyncIterator[tuple[AsyncSessionManager, Gate]]:
    """A manager of its own on the store, and the gate in front of its appends."""
    gates: list[Gate] = []

    def close_off(adapter: StorageAdapter) -> Gate:
        gates.append(Gate(adapter))
        return gates[0]

    async with opened(url, close_off) as manager:
        yield manager, gates[0]


async def cancel_at(gate: Gate, write: Awaitable[object]) -> None:
    """Start the write, cancel it while it waits at the gate, and open the gate. Raises what the write raises."""
    task = asyncio.ensure_future(write)
    await gate.reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.is_open.set()
    await task
