"""An instance for each event loop, for async clients, which work in one loop only."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from session_continuity.errors import ConfigError, StorageClosedError

if TYPE_CHECKING:
    import asyncio

__all__ = ["FirstLoop", "LoopBound"]

R = TypeVar("R")


class _Slot(Generic[R]):
    """The instance of one event loop, as soon as it is created."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self.lock = lock
        self.instances: list[R] = []  # a list, because None may be an instance
        self.life: AsyncGenerator[None] | None = None


class LoopBound(Generic[R]):
    """An instance for each event loop that calls `get`, created there and closed there.

    An instance is closed by `close`, or when its loop ends: `asyncio.run`, `asyncio.Runner` and every other runner call
    `loop.shutdown_asyncgens()`. A loop that is closed without it leaves its instance to the garbage collector.
    """

    def __init__(self, create: Callable[[], Awaitable[R]], close: Callable[[R], Awaitable[object]]) -> None:
        import asyncio

        self._create = create
        self._close = close
        self._new_lock = asyncio.Lock
        self._running_loop = asyncio.get_running_loop
        self._slots: dict[asyncio.AbstractEventLoop, _Slot[R]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def get(self) -> R:
        """The instance of the running loop, created on first use.

        If creating it fails, the error is raised and the next call tries again. Raises StorageClosedError after
        `close`.
        """
        loop = self._running_loop()
        slot = self._slots.get(loop) or self._add_slot(loop)
        if not slot.instances:
            async with slot.lock:
                if not slot.instances:
                    await self._fill(slot, loop)
        return slot.instances[0]

    async def close(self) -> None:
        """Close every instance. Those of other loops are closed there, as soon as these loops run."""
        with self._lock:
            self._closed = True
            slots, self._slots = self._slots, {}
        here = self._running_loop()
        for loop, slot in slots.items():
            if loop is here:
                await _end(slot)
            elif not loop.is_closed():
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(self._start_ending, loop, slot)

    def _start_ending(self, loop: asyncio.AbstractEventLoop, slot: _Slot[R]) -> None:
        task = loop.create_task(_end(slot))
        self._endings.add(task)  # a loop refers to its tasks weakly
        task.add_done_callback(self._endings.discard)

    def _add_slot(self, loop: asyncio.AbstractEventLoop) -> _Slot[R]:
        with self._lock:
            if self._closed:
                raise StorageClosedError
            self._slots = {other: slot for other, slot in self._slots.items() if not other.is_closed()}
            slot: _Slot[R] = _Slot(self._new_lock())
            self._slots[loop] = slot
            return slot

    async def _fill(self, slot: _Slot[R], loop: asyncio.AbstractEventLoop) -> None:
        instance = await self._create()
        slot.life = self._live(slot, loop, instance)
        await anext(slot.life)
        slot.instances.append(instance)
        if self._closed:  # while it was being created
            await _end(slot)
            raise StorageClosedError

    async def _live(self, slot: _Slot[R], loop: asyncio.AbstractEventLoop, instance: R) -> AsyncGenerator[None]:
        """An async generator, because a loop that ends closes those that it began, and nothing else."""
        try:
            yield
        finally:
            with self._lock:
                if self._slots.get(loop) is slot:
                    del self._slots[loop]
            slot.instances.clear()
            await self._close(instance)


class FirstLoop:
    """The event loop of the first `check`, for a client that was passed in and cannot be created again."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raise ConfigError in any other event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ConfigError(
                "the client that was passed in belongs to a different event loop; "
                "open the store by its URL, which serves every loop, or pass a client of this loop"
            )


async def _end(slot: _Slot[R]) -> None:
    if slot.life is not None:
        await slot.life.aclose()
