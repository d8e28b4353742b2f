"""The open connections of one database file, and the rules for using them.

Each connection serves one call at a time. Writers of this process queue for a lock, which wakes the next one at once.
SQLite's own way of waiting, to sleep and try again, is only used for writers of other processes.

A process must not fork while it has a connection open. The child would inherit SQLite's memory of its locks but not
the locks themselves, would trust them when it opens the file again, and could write to a log that the parent has
deleted. So a fork waits for the calls that are running and closes all connections first.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakSet

from session_continuity import Slots, StorageClosedError, StorageError, UnavailableError, retry_delays
from session_continuity_sqlite import schema
from session_continuity_sqlite.config import Synchronous
from session_continuity_sqlite.errors import Place, UnusableFileError, is_locked
from session_continuity_sqlite.files import Identity, address, create_file, has_content, identity

R = TypeVar("R")
Job = Callable[[sqlite3.Connection], R]

MAX_CONNECTIONS = 8
CLOSE_PATIENCE = 5.0
SQLITE_WAIT = 0.02
RETRY_PAUSE = 0.002
LARGEST_IDLE_LOG = 4 << 20
"""Bytes that the write-ahead log keeps after a checkpoint. A large write would otherwise leave it large for ever."""


class Connection(sqlite3.Connection):
    """A connection with the identity of the file that it has open, and of the file's write-ahead log."""

    file: Identity
    log: Identity | None

    def __del__(self) -> None:
        # Ctrl-C between two steps of a call can drop a connection. Python 3.13 warns if it was not closed.
        with suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


class _Call:
    """A running call: its connection, and whether another call may use that afterwards."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.is_usable = False


class ConnectionPool:
    """Runs jobs on connections to one file, which it opens when they are first needed. Any thread may use it.

    A signal handler may raise between any two steps. So each call is a holder of `Slots`, and its `finally` makes the
    clean-up again when that is interrupted.
    """

    def __init__(self, path: str, *, busy_timeout: float, synchronous: Synchronous) -> None:
        self.place = Place(path, busy_timeout)
        self._synchronous = synchronous
        self._idle: list[Connection] = []
        self._stranded: list[Connection] = []
        self._held_back: list[object] = []
        self._closed = False
        self._forked_in_a_call = False
        self._make_locks()
        _forks.watch(self)

    def read(self, job: Job[R]) -> R:
        """Run a job that only reads, and return its result."""
        return self._run(lambda connection: self._retry_while_locked(lambda: job(connection)), schema.check)

    def write(self, job: Job[R]) -> R:
        """Run a job in a transaction. It is committed when the job returns, and rolled back when the job raises."""

        def transaction(connection: sqlite3.Connection) -> R:
            # IMMEDIATE takes the write lock now: a transaction that began as a read could not always get it later.
            self._retry_while_locked(lambda: connection.execute("BEGIN IMMEDIATE"))
            result = job(connection)
            connection.execute("COMMIT")
            return result

        turn = object()
        try:
            if not self._writer.enter(turn, self.place.busy_timeout):
                raise UnavailableError(
                    f"other threads have been writing for longer than the busy_timeout of {self.place.busy_timeout:g} "
                    "s; repeat the call, or raise busy_timeout; nothing was written"
                )
            return self._run(transaction, schema.check)
        finally:
            try:
                self._writer.leave(turn)
            except BaseException:
                self._writer.leave(turn)
                raise

    def setup(self) -> None:
        """Create the file if there is none, and migrate it to this code's version."""
        create_file(self.place.path)
        self._run(schema.check, schema.prepare)

    def close(self) -> None:
        """Refuse new calls, wait a limited time for those that are running, and close the connections."""
        self._closed = True
        waited = self._hold_calls_back()
        try:
            self._close_idle()
        finally:
            self._let_calls_run(waited)

    def before_fork(self) -> None:
        """Hold new calls back, wait for those that are running, and close every connection."""
        self._held_back = self._hold_calls_back()
        self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Let calls run again."""
        self._let_calls_run(self._held_back)

    def after_fork_in_child(self) -> None:
        """Start over in the child: the parent's other threads do not exist here, and neither do their locks."""
        self._forked_in_a_call = len(self._held_back) < MAX_CONNECTIONS
        self._held_back = []
        self._make_locks()

    def _make_locks(self) -> None:
        self._excluding = threading.Lock()
        self._writer = Slots(1)
        self._calls = Slots(MAX_CONNECTIONS)

    def _run(self, job: Job[R], prepare: Job[None]) -> R:
        """Run a job on an idle connection, or on a new one after `prepare`."""
        call = _Call()
        try:
            self._admit(call)
            if call.connection is None or self._has_moved(call.connection):
                self._connect(call, prepare)
            assert call.connection is not None
            try:
                result = job(call.connection)
            except Exception as error:
                call.is_usable = _roll_back(call.connection, error)
                raise
            call.is_usable = True
            return result
        finally:
            try:
                self._leave(call)
            except BaseException:
                self._leave(call)
                raise

    def _retry_while_locked(self, attempt: Callable[[], R]) -> R:
        """Try until no other process holds the lock or the busy timeout is over.

        SQLite's own waiting is kept short: its sleeps get longer each time, and Ctrl-C cannot interrupt them.
        """
        for delay in retry_delays(
            deadline=self.place.busy_timeout, first=RETRY_PAUSE, longest=RETRY_PAUSE, min_attempts=1
        ):
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
            time.sleep(delay)
        return attempt()

    def _admit(self, call: _Call) -> None:
        """Wait for a slot, and give the call an idle connection if there is one."""
        self._check_open()
        self._calls.enter(call, threading.TIMEOUT_MAX)
        self._check_open()
        if self._forked_in_a_call:
            raise StorageError("this process was forked in the middle of a call; start it by spawn, or fork earlier")
        with suppress(IndexError):
            call.connection = self._idle.pop()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageClosedError

    def _leave(self, call: _Call) -> None:
        """End a call. Called again after an interruption, it does what is left to do."""
        connection, call.connection = call.connection, None
        if connection is not None:
            if call.is_usable and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()
        self._calls.leave(call)

    def _hold_calls_back(self) -> list[object]:
        """Take the slots of all calls, and return those that were free within a limited time."""
        deadline = time.monotonic() + self.place.busy_timeout + CLOSE_PATIENCE
        holders = [object() for _ in range(MAX_CONNECTIONS)]
        with self._excluding:
            return [each for each in holders if self._calls.enter(each, max(deadline - time.monotonic(), 0))]

    def _let_calls_run(self, holders: Iterable[object]) -> None:
        for holder in holders:
            self._calls.leave(holder)

    def _close_idle(self) -> None:
        for connections in (self._idle, self._stranded):
            while connections:
                connections.pop().close()

    def _has_moved(self, connection: Connection) -> bool:
        """Whether the path now names another file or none. The connection is then not used: its writes would be lost.

        It stays open while the log of its file lies beside another one, so that no other log gets its inode.
        """
        found = identity(self.place.path)
        if found == connection.file:
            return False
        self._stranded.append(connection)
        return True

    def _check_log(self) -> None:
        """Raise UnusableFileError if the write-ahead log of a file that was replaced lies beside the new one.

        SQLite would take it for the log of the new file, and write the old pages into it. It deletes it where the new
        file is empty.
        """
        log = identity(f"{self.place.path}-wal")
        is_old = any(connection.log == log for connection in self._stranded)
        if log is not None and is_old and has_content(self.place.path):
            raise UnusableFileError(
                "the file was replaced, and the write-ahead log of the old one still lies beside it: end every process "
                f"that uses it, remove {self.place.path}-wal and {self.place.path}-shm, and start again"
            )
        while self._stranded:
            self._stranded.pop().close()

    def _connect(self, call: _Call, prepare: Job[None]) -> None:
        """Give the call a new connection, after `prepare`."""
        call.connection = None
        self._check_log()
        call.connection = connection = sqlite3.connect(
            address(self.place.path),
            uri=True,
            timeout=min(self.place.busy_timeout, SQLITE_WAIT),
            isolation_level=None,  # sqlite3 starts no transactions by itself
            check_same_thread=False,  # `_admit` gives a connection to one call at a time
            factory=Connection,
        )

        def begin() -> None:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {LARGEST_IDLE_LOG}").fetchall()
            prepare(connection)

        self._retry_while_locked(begin)
        file = identity(self.place.path)
        if file is None:
            raise FileNotFoundError(self.place.path)
        connection.file, connection.log = file, identity(f"{self.place.path}-wal")


def _roll_back(connection: sqlite3.Connection, error: Exception) -> bool:
    """Undo what a failed job did, and return whether the connection can be used again.

    After an error of SQLite itself it cannot. Closing it rolls back too.
    """
    if isinstance(error, sqlite3.DatabaseError):
        return False
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


class _Forks:
    """Prepares every pool of the process for a fork, and starts it again afterwards."""

    def __init__(self) -> None:
        self._pools: WeakSet[ConnectionPool] = WeakSet()
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
            os.register_at_fork(
                before=self._before, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
            )

    def watch(self, pool: ConnectionPool) -> None:
        with self._lock:
            self._pools.add(pool)

    def _before(self) -> None:
        # Held until after the fork, so that no pool is added in between.
        self._lock.acquire()
        for pool in self._pools:
            pool.before_fork()

    def _after_in_parent(self) -> None:
        for pool in self._pools:
            pool.after_fork_in_parent()
        self._lock.release()

    def _after_in_child(self) -> None:
        self._lock = threading.RLock()
        for pool in self._pools:
            pool.after_fork_in_child()


_forks = _Forks()
