"""`Turnstile`: lets those who write to one thing in this process in one after the other."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary
from zlib import crc32

from session_continuity.runtime.modes import Mode
from session_continuity.runtime.slots import Slots

if TYPE_CHECKING:
    import asyncio

__all__ = ["Turnstile"]

R = TypeVar("R")

_PATIENCE = 30.0
_QUEUES = 256


class Turnstile:
    """Queues for stores whose writers fail each other's conditions, and would have to read again each time.

    Things share 256 queues, by their names. A queue for each would have to be removed after it, which a signal handler
    could interrupt. In blocking mode a writer that has waited for 30 seconds goes ahead anyway: nothing may depend on
    the queue, because writers of other processes do not pass it. Work must not begin another turn.
    """

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._slots: list[Slots] = []
        self._process = 0
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, list[asyncio.Lock]] = WeakKeyDictionary()

    async def turn(self, name: str, work: Callable[[], Awaitable[R]]) -> R:
        """The result of the work, which is begun when it is its turn at the thing with this name."""
        number = crc32(name.encode()) % _QUEUES
        if self._mode == "async":
            async with self._locks_of_loop()[number]:
                return await work()
        slots, holder = self._slots_of_process()[number], object()
        try:
            slots.enter(holder, _PATIENCE)
            return await work()
        finally:
            try:
                slots.leave(holder)
            except BaseException:  # a signal handler raised
                slots.leave(holder)
                raise

    def _locks_of_loop(self) -> list[asyncio.Lock]:
        import asyncio

        loop = asyncio.get_running_loop()
        if loop not in self._locks:
            self._locks[loop] = [asyncio.Lock() for _ in range(_QUEUES)]
        return self._locks[loop]

    def _slots_of_process(self) -> list[Slots]:
        """The queues of this process: those of a parent may be held by threads that a fork did not copy."""
        slots = self._slots
        if self._process != os.getpid():
            slots = self._slots = [Slots(1) for _ in range(_QUEUES)]
            self._process = os.getpid()
        return slots
