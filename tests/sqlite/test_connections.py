"""Threads, tasks and forks: who uses which connection, and how it is left."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import (
    SessionNotFoundError,
    StorageAdapter,
    StorageClosedError,
    UnavailableError,
    portable,
    run_now,
)
from session_continuity_sqlite import SqliteStorage, pool
from session_continuity_sqlite.pool import MAX_CONNECTIONS, ConnectionPool, _forks

from ..kit.clocks import START
from ..kit.conversations import Speaker, new_session, store_session, stored_contents, stored_messages
from ..kit.waiting import wait_until
from .pools import pool_of

if TYPE_CHECKING:
    from .conftest import OpenStore, StartProgram


@contextmanager
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock, as another process would."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_sixteen_threads_append_to_one_session(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session()))

    def write(name: int) -> list[str]:
        speaker = Speaker()
        return [
            run_now(store.append_messages("s", [speaker.says(f"{name} {number}")])).messages[0].id
            for number in range(30)
        ]

    with ThreadPoolExecutor(16) as threads:
        acknowledged = list(threads.map(write, range(16)))
    stored = stored_messages(store)
    assert sorted(message.id for message in stored) == sorted(chain.from_iterable(acknowledged))
    for name, ids in enumerate(acknowledged):
        assert [message.id for message in stored if str(message.content).startswith(f"{name} ")] == ids
    session = run_now(store.get_session("s"))
    assert session is not None
    assert (session.message_count, session.token_count) == (480, 480)


def test_the_number_of_connections_is_bounded(store: StorageAdapter) -> None:
    store_session(store, 1)
    used: set[int] = set()
    inside = threading.Semaphore(0)
    may_leave = threading.Event()
    connections = pool_of(store)

    def job(connection: sqlite3.Connection) -> int:
        used.add(id(connection))
        inside.release()
        assert may_leave.wait(10)
        return len(connection.execute("SELECT * FROM messages").fetchall())

    with ThreadPoolExecutor(MAX_CONNECTIONS + 4) as threads:
        running = [threads.submit(connections.read, job) for _ in range(MAX_CONNECTIONS + 4)]
        for _ in range(MAX_CONNECTIONS):
            assert inside.acquire(timeout=10)
        assert not inside.acquire(blocking=False)
        may_leave.set()
        assert [one.result(10) for one in running] == [1] * (MAX_CONNECTIONS + 4)
    assert len(used) == MAX_CONNECTIONS


def test_a_connection_serves_again_after_each_kind_of_failure(store: StorageAdapter) -> None:
    store_session(store, 1)

    def fails_in_python(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM messages")
        raise KeyboardInterrupt

    def fails_in_sqlite(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM messages")
        connection.execute("SELECT * FROM nowhere")

    with pytest.raises(KeyboardInterrupt):
        pool_of(store).write(fails_in_python)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        pool_of(store).write(fails_in_sqlite)
    assert stored_contents(store) == ["message 0"]
    run_now(store.append_messages("s", [Speaker().says("goes on")]))


def test_a_commit_that_fails_takes_everything_back(store: StorageAdapter) -> None:
    store_session(store, 1)

    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("UPDATE sessions SET token_count = 99")
        connection.execute("INSERT INTO session_bodies VALUES (77, '{}')")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        pool_of(store).write(orphan)
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.token_count == 1
    run_now(store.append_messages("s", [Speaker().says("goes on")]))


def test_threads_wait_for_the_write_lock_no_longer_than_the_busy_timeout(open_store: OpenStore) -> None:
    store = open_store(busy_timeout=0.05)
    store_session(store, 0)
    begun, may_end = threading.Event(), threading.Event()

    def holds_the_lock(connection: sqlite3.Connection) -> None:
        del connection
        begun.set()
        assert may_end.wait(10)

    holder = threading.Thread(target=pool_of(store).write, args=(holds_the_lock,))
    holder.start()
    assert begun.wait(10)
    with pytest.raises(UnavailableError, match="other threads have been writing"):
        run_now(store.append_messages("s", [Speaker().says("late")]))
    may_end.set()
    holder.join(10)
    assert stored_contents(store) == []


def test_expiry_is_judged_when_the_write_has_its_lock(open_store: OpenStore, database: Path) -> None:
    store = open_store(busy_timeout=30)
    now = START
    asked = threading.Event()

    def clock() -> Any:
        asked.set()
        return now

    store.clock = clock
    run_now(store.create_session(new_session(expires_at=START + timedelta(seconds=1))))
    asked.clear()
    with locked(database) as other, ThreadPoolExecutor(1) as thread:
        append = thread.submit(lambda: run_now(store.append_messages("s", [Speaker().says("late")])))
        wait_until(lambda: pool_of(store)._writer._holders, "the write to queue")
        assert not asked.is_set()
        now = START + timedelta(seconds=1)
        other.execute("COMMIT")
        with pytest.raises(SessionNotFoundError):
            append.result(30)


def test_close_waits_for_calls_under_way_and_refuses_later_ones(store: StorageAdapter) -> None:
    store_session(store, 1)
    begun, may_end = threading.Event(), threading.Event()

    def job(connection: sqlite3.Connection) -> int:
        begun.set()
        assert may_end.wait(10)
        return len(connection.execute("SELECT * FROM messages").fetchall())

    with ThreadPoolExecutor(3) as threads:
        running = threads.submit(pool_of(store).read, job)
        assert begun.wait(10)
        closing_ = threads.submit(lambda: run_now(store.close()))
        wait_until(lambda: pool_of(store)._closed, "the close to begin")
        assert not closing_.done()
        with pytest.raises(StorageClosedError):
            pool_of(store).read(job)
        may_end.set()
        assert running.result(10) == 1
        closing_.result(10)
    with pytest.raises(StorageClosedError):
        run_now(store.get_session("s"))
    run_now(store.close())


@pytest.mark.parametrize("step", [ConnectionPool._has_moved, ConnectionPool._leave])
def test_close_ends_also_where_ctrl_c_kept_a_call_from_saying_that_it_ended(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, step: FunctionType
) -> None:
    monkeypatch.setattr(pool, "CLOSE_PATIENCE", 0.05)
    store = open_store(busy_timeout=0.05)
    store_session(store, 2)
    before = sys.gettrace()

    def strike(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is step.__code__:
            sys.settrace(before)
            raise KeyboardInterrupt

    for _ in range(3):
        sys.settrace(strike)
        with pytest.raises(KeyboardInterrupt):
            stored_contents(store)
        assert len(stored_contents(store)) == 2
    run_now(store.close())
    with pytest.raises(StorageClosedError):
        stored_contents(store)


def test_close_leaves_one_file(store: StorageAdapter, database: Path) -> None:
    store_session(store, 5)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: stored_contents(store), range(8)))
    assert len(os.listdir(database.parent)) == 3
    run_now(store.close())
    assert os.listdir(database.parent) == [database.name]


def test_a_cancelled_append_ends_whole_and_leaves_the_store_serving(open_store: OpenStore, database: Path) -> None:
    store = open_store(busy_timeout=30)
    store_session(store, 1)
    run_now(store.close())
    asyncio.run(cancel_an_append(portable(SqliteStorage(database, mode="async", busy_timeout=30)), database))
    assert stored_contents(open_store()) == ["message 0", "cancelled, and stored", "after"]


async def cancel_an_append(store: StorageAdapter, database: Path) -> None:
    speaker = Speaker()
    with locked(database) as other:
        append = asyncio.create_task(store.append_messages("s", [speaker.says("cancelled, and stored")]))
        await asyncio.to_thread(wait_until, lambda: pool_of(store)._writer._holders, "the write to queue")
        append.cancel()
        with pytest.raises(asyncio.CancelledError):
            await append
        other.execute("COMMIT")
    await store.append_messages("s", [speaker.says("after")])
    await store.close()


def test_reads_do_not_wait_behind_writes_that_wait_for_a_lock(open_store: OpenStore, database: Path) -> None:
    run_now(open_store().create_session(new_session()))

    async def scenario() -> None:
        store = portable(SqliteStorage(database, mode="async", busy_timeout=30))
        with locked(database) as other:
            writes = [asyncio.create_task(store.append_messages("s", [Speaker().says("waits")])) for _ in range(20)]
            await asyncio.to_thread(wait_until, lambda: pool_of(store)._writer._holders, "the write to queue")
            assert await store.get_session("s") is not None
            assert not any(write.done() for write in writes)
            other.execute("COMMIT")
        await asyncio.gather(*writes)
        await store.close()

    asyncio.run(scenario())
    assert stored_contents(open_store()) == ["waits"] * 20


def test_ctrl_c_ends_a_wait_for_the_lock(open_store: OpenStore, database: Path) -> None:
    store = open_store(busy_timeout=60)
    store_session(store, 1)
    waits = threading.Event()

    def interrupt() -> None:
        wait_until(lambda: pool_of(store)._writer._holders, "the write to queue")
        os.kill(os.getpid(), signal.SIGINT)
        waits.set()

    with locked(database):
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run_now(store.append_messages("s", [Speaker().says("interrupted")]))
        interrupter.join(10)
        assert time.monotonic() - began < 30
    run_now(store.append_messages("s", [Speaker().says("after")]))
    assert stored_contents(store) == ["message 0", "after"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("parent_closes_first", {"before", "child before", "parent", "child after"}),
        ("inside_a_call", {"before", "parent"}),
    ],
)
def test_both_sides_of_a_fork_keep_what_they_acknowledged(
    start_program: StartProgram, open_store: OpenStore, database: Path, mode: str, expected: set[str]
) -> None:
    process = start_program("fork.py", database, mode)
    assert process.stdout is not None
    assert process.stdout.read() == "done\n"
    assert set(stored_contents(open_store())) == expected


def test_a_fork_while_other_threads_write_loses_nothing(
    start_program: StartProgram, open_store: OpenStore, database: Path
) -> None:
    process = start_program("fork.py", database, "while_a_thread_writes")
    assert process.stdout is not None
    assert process.stdout.read() == "done\n"
    said = stored_contents(open_store())
    by_thread = [text for text in said if text.startswith("thread ")]
    assert by_thread == [f"thread {number}" for number in range(len(by_thread))]
    assert said[-1] == f"written {len(by_thread)}"
    assert [text for text in said if text.startswith("child ")] == [f"child {number}" for number in range(10)]


def test_a_store_that_is_forgotten_leaves_no_connections_watched(open_store: OpenStore, database: Path) -> None:
    open_store()
    gc.collect()
    before = len(list(_forks._pools))
    ConnectionPool(str(database), busy_timeout=1, synchronous="normal")
    gc.collect()
    assert len(list(_forks._pools)) == before
