"""A bounded pool of connections for a client that has none that fits: in either mode, without threads and tasks of it.

A connection is opened on the stack of the call that needs it, so the call raises the true reason where it cannot be
opened, and works again as soon as the server does. The connection that was used last is taken first. So a pool keeps
as many open as its load needs, and those that are left over grow old and are closed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from session_continuity.errors import StorageClosedError, ThrottledError
from session_continuity.runtime.loop_bound import LoopBound
from session_continuity.runtime.modes import Mode
from session_continuity.runtime.slots import Slots

__all__ = ["ConnectionPool", "PooledConnection"]

R = TypeVar("R")

MAX_IDLE = 300.0
"""Seconds after which a connection that nobody used is closed."""

MAX_AGE = 3600.0
"""Seconds after which a connection is not used again, so that a change of the server's address is seen."""


class PooledConnection(Protocol):
    """What the pool asks of a connection. No method may suspend or raise."""

    def is_alive(self) -> bool:
        """Whether the connection can serve, as far as this side knows. Asked before each use, so it must be cheap."""
        raise NotImplementedError

    def is_clean(self) -> bool:
        """Whether another call may use the connection after this one."""
        raise NotImplementedError

    def discard(self) -> None:
        """Close the connection. Called in any state."""


C = TypeVar("C", bound=PooledConnection)


class _Call(Generic[C]):
    """A running call and its connection, as soon as it has one."""

    def __init__(self) -> None:
        self.connection: C | None = None


class _Idle(Generic[C]):
    """The open connections that no call uses. A deque's steps are atomic, so this needs no lock."""

    def __init__(self) -> None:
        self._connections: deque[tuple[C, float]] = deque()
        self._opened: dict[int, float] = {}

    def take(self, call: _Call[C]) -> None:
        """Give the call the connection that was used last and is alive, if there is one."""
        while self._connections:
            try:
                call.connection, _ = self._connections.pop()
            except IndexError:  # another thread took it
                return
            if call.connection.is_alive():
                return
            self.discard(call.connection)
            call.connection = None

    def opened(self, connection: C) -> None:
        """Remember when the connection was opened."""
        self._opened[id(connection)] = time.monotonic()

    def put(self, connection: C) -> None:
        """Keep the connection for the next call, or close it. Closes one that nobody has used for long."""
        now = time.monotonic()
        if not connection.is_clean() or now - self._opened.get(id(connection), now) > MAX_AGE:
            self.discard(connection)
            return
        self._connections.append((connection, now))
        try:
            if now - self._connections[0][1] > MAX_IDLE:
                self.discard(self._connections.popleft()[0])
        except IndexError:  # another thread took it
            return

    def discard(self, connection: C) -> None:
        """Close the connection."""
        self._opened.pop(id(connection), None)
        connection.discard()

    def clear(self) -> None:
        """Close them all."""
        while self._connections:
            try:
                connection, _ = self._connections.pop()
            except IndexError:
                return
            self.discard(connection)


class _ThreadRoom(Generic[C]):
    """The connections of blocking calls in one process."""

    def __init__(self, limit: int) -> None:
        self.idle: _Idle[C] = _Idle()
        self.process = os.getpid()
        self._slots = Slots(limit)

    async def enter(self, call: _Call[C], patience: float) -> bool:
        """Wait for a place, and return whether there was one."""
        return self._slots.enter(call, min(patience, threading.TIMEOUT_MAX))

    def leave(self, call: _Call[C]) -> None:
        """Give the place back. May be called again."""
        self._slots.leave(call)


class _LoopRoom(Generic[C]):
    """The connections of one event loop."""

    def __init__(self, limit: int) -> None:
        import asyncio

        self.idle: _Idle[C] = _Idle()
        self._free = asyncio.Semaphore(limit)
        self._entered: set[_Call[C]] = set()
        self._timeout = asyncio.timeout

    async def enter(self, call: _Call[C], patience: float) -> bool:
        """Wait for a place, and return whether there was one."""
        if not self._free.locked():
            await self._free.acquire()  # does not suspend
        else:
            try:
                async with self._timeout(patience):
                    await self._free.acquire()
            except TimeoutError:
                return False
        self._entered.add(call)
        return True

    def leave(self, call: _Call[C]) -> None:
        """Give the place back. May be called again."""
        if call in self._entered:
            self._entered.discard(call)
            self._free.release()


class ConnectionPool(Generic[C]):
    """At most `limit` connections, in async mode in each event loop. A call waits up to `patience` seconds for one.

    `open` opens a connection. It must not suspend in blocking mode. Any thread, and after a fork any child, may use a
    blocking pool: a child opens connections of its own. A signal handler may raise between any two steps of a call;
    its connection and its place are given back.
    """

    def __init__(self, mode: Mode, open: Callable[[], Awaitable[C]], *, limit: int, patience: float) -> None:
        self.mode: Mode = mode
        self._open = open
        self._limit = limit
        self._patience = patience
        self._closed = False
        self._rooms: list[_Idle[C]] = []
        self._inherited: list[_ThreadRoom[C]] = []
        self._by_loop = LoopBound(self._new_loop_room, self._close_loop_room) if mode == "async" else None
        self._here: _ThreadRoom[C] = _ThreadRoom(limit)

    async def run(self, job: Callable[[C], Awaitable[R]]) -> R:
        """Run the job on a connection that no other call uses meanwhile, and return its result.

        Raises ThrottledError when no connection became free, StorageClosedError after `close`, and what `open` raises.
        """
        room = self._thread_room() if self._by_loop is None else await self._by_loop.get()
        call: _Call[C] = _Call()
        try:
            if not await room.enter(call, self._patience):
                raise ThrottledError("all connections are in use; raise max_connections, or make fewer calls at once")
            if self._closed:
                raise StorageClosedError
            room.idle.take(call)
            if call.connection is None:
                call.connection = await self._open()
                room.idle.opened(call.connection)
            return await job(call.connection)
        finally:
            try:
                self._leave(room, call)
            except BaseException:  # a signal handler raised
                self._leave(room, call)
                raise

    def discard_idle(self) -> None:
        """Close the connections that no call uses, because their server is no longer the right one."""
        for idle in [self._here.idle, *self._rooms]:
            idle.clear()

    async def close(self) -> None:
        """Refuse further calls and close the connections. Those in use are closed when their calls end."""
        self._closed = True
        if self._by_loop is not None:
            await self._by_loop.close()
        if self._here.process == os.getpid():
            self.discard_idle()

    def _leave(self, room: _ThreadRoom[C] | _LoopRoom[C], call: _Call[C]) -> None:
        """End a call. Called again after an interruption, it does what is left to do."""
        connection, call.connection = call.connection, None
        if connection is not None:
            if self._closed:
                room.idle.discard(connection)
            else:
                room.idle.put(connection)
        room.leave(call)

    def _thread_room(self) -> _ThreadRoom[C]:
        if self._here.process != os.getpid():
            # The parent still uses these connections: closing them here would end its sessions on the server.
            self._inherited.append(self._here)
            self._here = _ThreadRoom(self._limit)
        return self._here

    async def _new_loop_room(self) -> _LoopRoom[C]:
        room: _LoopRoom[C] = _LoopRoom(self._limit)
        self._rooms.append(room.idle)
        return room

    async def _close_loop_room(self, room: _LoopRoom[C]) -> None:
        self._rooms.remove(room.idle)
        room.idle.clear()
