"""`Turnstile`: lets the writers of one session in this process in one after the other.

Without it they would fail each other's conditions and read the session again each time. Nothing depends on it: writers
of other processes do not pass it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from session_continuity import Mode, Slots

_PATIENCE = 30.0
"""Seconds after which a writer goes ahead anyway."""

_Key = tuple[asyncio.AbstractEventLoop | None, str]


class Turnstile:
    """A queue for each session that is being written, by the name of its document."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._slots: dict[str, Slots] = {}
        self._locks: dict[_Key, asyncio.Lock] = {}
        self._waiting: dict[_Key, int] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn at this session."""
        key: _Key = (asyncio.get_running_loop() if self._mode == "async" else None, name)
        with self._lock:
            self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            if self._mode == "async":
                async with self._locks.setdefault(key, asyncio.Lock()):
                    yield
            else:
                slots = self._slots.setdefault(name, Slots(1))
                holder = object()
                try:
                    slots.enter(holder, _PATIENCE)
                    yield
                finally:
                    _leave(slots, holder)
        finally:
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        with self._lock:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._locks.pop(key, None)
                self._slots.pop(key[1], None)


def _leave(slots: Slots, holder: object) -> None:
    try:
        slots.leave(holder)
    except BaseException:  # a signal handler raised
        slots.leave(holder)
        raise
