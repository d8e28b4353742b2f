"""The open connections of one database file: who may use one, and when.

Each connection serves one call at a time. Writers of this process take turns on a lock, which wakes the next one at
once; SQLite's own waiting, by sleeping and asking again, is left for writers of other processes.

A process must not fork with a connection open: SQLite's knowledge of its locks would be copied with the memory, the
locks themselves would not, and a child that opens the file anew would trust them; its writes can then go to a log
that the parent has removed. So a fork waits for the calls under way, and finds all connections closed.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from session_continuity import StorageClosedError, UnavailableError
from session_continuity_sqlite import schema
from session_continuity_sqlite.config import Synchronous
from session_continuity_sqlite.errors import BACKEND, RAW_ERRORS, Place, storage_error, translate

R = TypeVar("R")
Job = Callable[[sqlite3.Connection], R]

MOST_CONNECTIONS = 8
LAST_CALLS_PATIENCE = 5.0
LONGEST_SLEEP = 0.02
PAUSE = 0.002


class Connection(sqlite3.Connection):
    """A connection that knows which file it has open."""

    file: tuple[int, int]

    def __del__(self) -> None:
        # Ctrl-C between two steps of a call can lose one, and Python 3.13 warns of a connection that was not closed.
        with suppress(sqlite3.ProgrammingError):  # it was never open
            self.close()


class Connections:
    """Runs jobs on connections to one file, opened when first needed; safe to use from any number of threads."""

    def __init__(self, path: str, *, busy_timeout: float, synchronous: Synchronous) -> None:
        self.place = Place(path, busy_timeout)
        self._synchronous = synchronous
        self._idle: list[Connection] = []
        self._under_way: set[object] = set()
        self._closed = False
        self._forking = False
        self._stranded = False
        self._make_locks()
        _forks.watch(self)

    def read(self, operation: str, job: Job[R]) -> R:
        """Run a job of one statement. Raises the project's errors only."""
        return self._run(operation, lambda connection: self._patiently(lambda: job(connection)), self._open)

    def write(self, operation: str, job: Job[R]) -> R:
        """Run a job as one transaction, which its return commits and any error takes back."""

        def transaction(connection: sqlite3.Connection) -> R:
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            result = job(connection)
            connection.execute("COMMIT")
            return result

        turn = self._turn
        if not turn.acquire(timeout=self.place.busy_timeout):
            raise UnavailableError(
                f"other threads have been writing for longer than the busy_timeout of {self.place.busy_timeout:g} s; "
                "repeat the call, or raise busy_timeout; nothing was written",
                backend=BACKEND,
                operation=operation,
            )
        try:
            return self._run(operation, transaction, self._open)
        finally:
            turn.release()

    def setup(self) -> None:
        """Create the file where there is none, and bring it to this code's version."""
        self._run("setup", schema.check, self._create)

    def close(self) -> None:
        """Refuse new calls, wait for those under way as long as one may take, close the connections."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._await_calls()
            self._close_idle()

    def before_fork(self) -> None:
        """Hold new calls back and close every connection, once the calls under way have ended."""
        with self._changed:
            self._forking = True
            self._await_calls()
            self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Let calls go on."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Begin anew: other threads, and what they held, do not exist here."""
        self._make_locks()
        self._forking = False
        self._stranded = bool(self._under_way)

    def _make_locks(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def _run(self, operation: str, job: Job[R], opened: Callable[[], Connection]) -> R:
        call, connection, serves = object(), None, False
        try:
            connection = self._admit(operation, call)
            if connection is None or self._has_moved(connection):
                connection = opened()
            try:
                result = job(connection)
            except BaseException as error:
                serves = _is_settled(connection, error)
                raise
            serves = True
            return result
        except RAW_ERRORS as error:
            raise translate(error, operation=operation, place=self.place) from error
        finally:
            self._leave(call, connection if serves else None)

    def _patiently(self, attempt: Callable[[], R]) -> R:
        """Try until no other process is in the way, or the busy timeout is over. The wait inside SQLite, which sleeps
        longer each time and cannot be interrupted, is kept short."""
        deadline = time.monotonic() + self.place.busy_timeout
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(0, PAUSE))

    def _admit(self, operation: str, call: object) -> Connection | None:
        """Note a call as under way, and give it an idle connection if there is one. What Ctrl-C lets happen between any
        two steps, `_leave` undoes."""
        with self._changed:
            self._changed.wait_for(self._may_enter)
            if self._closed:
                raise StorageClosedError(backend=BACKEND, operation=operation)
            if self._stranded:
                raise storage_error(
                    operation, "this process was forked in the middle of a call; start it by spawn, or fork earlier"
                )
            self._under_way.add(call)
            return self._idle.pop() if self._idle else None

    def _may_enter(self) -> bool:
        return self._closed or self._stranded or (not self._forking and len(self._under_way) < MOST_CONNECTIONS)

    def _leave(self, call: object, connection: Connection | None) -> None:
        with self._changed:
            self._under_way.discard(call)
            if connection is not None:
                self._idle.append(connection)
            self._changed.notify_all()

    def _await_calls(self) -> None:
        """Wait for the calls under way; not for ever, because Ctrl-C may have kept one from saying that it ended."""
        patience = self.place.busy_timeout + LAST_CALLS_PATIENCE
        self._changed.wait_for(lambda: not self._under_way, timeout=patience)

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _has_moved(self, connection: Connection) -> bool:
        """Whether another file, or none, lies where this connection's lay; what it wrote would be lost."""
        try:
            moved = connection.file != _identity(self.place.path)
        except FileNotFoundError:
            moved = True
        if moved:
            connection.close()
        return moved

    def _open(self) -> Connection:
        return self._connect("rw", schema.check)

    def _create(self) -> Connection:
        return self._connect("rwc", schema.prepare)

    def _connect(self, mode: str, made_ready: Job[None]) -> Connection:
        connection = sqlite3.connect(
            f"{Path(self.place.path).as_uri()}?mode={mode}",
            uri=True,
            timeout=min(self.place.busy_timeout, LONGEST_SLEEP),
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )

        def begin() -> None:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            made_ready(connection)

        try:
            self._patiently(begin)
            connection.file = _identity(self.place.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _is_settled(connection: sqlite3.Connection, error: BaseException) -> bool:
    """Take back what a failed job did. Whether the connection can serve again; otherwise it is closed."""
    if not isinstance(error, sqlite3.DatabaseError):
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return True
        except sqlite3.Error:
            pass  # closing takes the transaction back as well
    connection.close()
    return False


class _Forks:
    """Brings every `Connections` of the process through a fork."""

    def __init__(self) -> None:
        self._everyone: WeakSet[Connections] = WeakSet()
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
            )

    def watch(self, connections: Connections) -> None:
        with self._lock:
            self._everyone.add(connections)

    def _before(self) -> None:
        self._lock.acquire()
        for connections in self._everyone:
            connections.before_fork()

    def _after_in_parent(self) -> None:
        for connections in self._everyone:
            connections.after_fork_in_parent()
        self._lock.release()

    def _after_in_child(self) -> None:
        self._lock = threading.RLock()
        for connections in self._everyone:
            connections.after_fork_in_child()


_forks = _Forks()
