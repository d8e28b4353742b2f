"""`Turnstile`: lets the writers of one session in this process in one after the other.

Without it they would fail each other's conditions, and read the session again each time. Nothing depends on it: writers
of other processes do not pass it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakKeyDictionary
from zlib import crc32

from session_continuity import Mode, Slots

R = TypeVar("R")

_PATIENCE = 30.0
"""Seconds after which a writer goes ahead anyway."""

_QUEUES = 256
"""Sessions share this many queues, by their names. A queue for each would have to be removed, which a signal handler
could interrupt."""


class Turnstile:
    """The queues of one adapter and its views. A call must not begin another one inside of its turn."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._slots: list[Slots] = []
        self._process = 0
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, list[asyncio.Lock]] = WeakKeyDictionary()

    async def turn(self, name: str, work: Callable[[], Awaitable[R]]) -> R:
        """The result of the work, which is begun when it is its turn at the session with this name."""
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
