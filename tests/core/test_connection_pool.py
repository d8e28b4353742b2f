"""`ConnectionPool`: bounded, the last one first, closed when it must be, and nothing is lost where a signal strikes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import FrameType
from typing import Any

import pytest

from session_continuity import ConnectionPool, Mode, StorageClosedError, ThrottledError, run_now
from session_continuity.runtime import connection_pool

from ..kit.modes import MODES, ModeRunner
from ..kit.waiting import wait_until

_numbers = count()


class Connection:
    """A connection to nothing. `alive` and `clean` are what the pool is told of it."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.alive = self.clean = self.is_open = True

    def is_alive(self) -> bool:
        return self.alive

    def is_clean(self) -> bool:
        return self.clean

    def discard(self) -> None:
        assert self.is_open, "closed twice"
        self.is_open = False


class Opener:
    """Opens connections and remembers them."""

    def __init__(self) -> None:
        self.opened: list[Connection] = []

    async def __call__(self) -> Connection:
        self.opened.append(Connection())
        return self.opened[-1]

    @property
    def open_now(self) -> int:
        return sum(connection.is_open for connection in self.opened)


def made(mode: Mode, *, limit: int = 2, patience: float = 30.0) -> tuple[ConnectionPool[Connection], Opener]:
    opener = Opener()
    return ConnectionPool(mode, opener, limit=limit, patience=patience), opener


async def itself(connection: Connection) -> Connection:
    return connection


@pytest.fixture(params=MODES)
def runner(request: pytest.FixtureRequest) -> Any:
    made = ModeRunner(request.param)
    yield made
    made.close()


def test_a_connection_is_used_again(runner: ModeRunner) -> None:
    pool, opener = made(runner.mode)
    used = [runner.run(pool.run(itself)) for _ in range(3)]
    assert len(set(used)) == len(opener.opened) == 1
    runner.run(pool.close())
    assert opener.open_now == 0


def test_the_connection_used_last_is_taken_first(runner: ModeRunner) -> None:
    pool, _ = made(runner.mode)

    async def two(first: Connection) -> tuple[Connection, Connection]:
        return first, await pool.run(itself)

    first, second = runner.run(pool.run(two))
    assert first is not second
    assert runner.run(pool.run(itself)) is first  # it was given back last
    runner.run(pool.close())


@pytest.mark.parametrize("flaw", ["alive", "clean"])
def test_a_connection_that_is_no_longer_good_is_closed(runner: ModeRunner, flaw: str) -> None:
    pool, opener = made(runner.mode)

    async def spoil(connection: Connection) -> None:
        setattr(connection, flaw, False)

    runner.run(pool.run(spoil))
    assert runner.run(pool.run(itself)) is opener.opened[1]
    assert not opener.opened[0].is_open
    runner.run(pool.close())


def test_a_call_that_fails_gives_its_connection_back(runner: ModeRunner) -> None:
    pool, opener = made(runner.mode, limit=1)

    async def fail(_: Connection) -> None:
        raise RuntimeError("of the job")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="of the job"):
            runner.run(pool.run(fail))
    assert len(opener.opened) == 1
    runner.run(pool.close())


def test_an_error_of_opening_is_raised_and_the_next_call_tries_again(runner: ModeRunner) -> None:
    opener, refused = Opener(), [True]

    async def open() -> Connection:
        if refused:
            raise ConnectionRefusedError(refused.pop())
        return await opener()

    pool = ConnectionPool(runner.mode, open, limit=1, patience=30)
    with pytest.raises(ConnectionRefusedError):
        runner.run(pool.run(itself))
    assert runner.run(pool.run(itself)).is_open
    runner.run(pool.close())


def test_a_call_waits_only_so_long_for_a_connection(runner: ModeRunner) -> None:
    pool, _ = made(runner.mode, limit=1, patience=0.05)
    with pytest.raises(ThrottledError, match="raise max_connections"):
        runner.run(pool.run(lambda _: pool.run(itself)))
    assert runner.run(pool.run(itself)).is_open
    runner.run(pool.close())


def test_no_more_connections_are_open_than_the_limit(runner: ModeRunner) -> None:
    pool, opener = made(runner.mode, limit=3)

    async def work(_: Connection) -> int:
        if runner.mode == "async":
            await asyncio.sleep(0)
        return opener.open_now

    calls: list[Callable[[], Any]] = [lambda: pool.run(work)] * 20
    results = runner.run_together(*calls)
    assert all(isinstance(seen, int) and seen <= 3 for seen in results), results
    runner.run(pool.close())


def test_after_close_a_call_is_refused_and_a_running_one_closes_its_connection(runner: ModeRunner) -> None:
    pool, opener = made(runner.mode)

    async def close(connection: Connection) -> bool:
        await pool.close()
        return connection.is_open

    assert runner.run(pool.run(close))
    assert opener.open_now == 0
    with pytest.raises(StorageClosedError):
        runner.run(pool.run(itself))


def test_idle_connections_can_be_dropped(runner: ModeRunner) -> None:
    pool, opener = made(runner.mode)

    async def drop(connection: Connection) -> bool:
        await pool.run(itself)
        pool.discard_idle()
        return connection.is_open

    assert runner.run(pool.run(drop))  # it is not idle
    assert opener.open_now == 1
    runner.run(pool.close())


def test_connections_that_nobody_uses_and_old_ones_are_closed(
    runner: ModeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, opener = made(runner.mode)
    runner.run(pool.run(lambda _: pool.run(itself)))
    assert opener.open_now == 2
    monkeypatch.setattr(connection_pool, "MAX_IDLE", -1.0)
    runner.run(pool.run(itself))
    assert opener.open_now == 1
    monkeypatch.setattr(connection_pool, "MAX_AGE", -1.0)
    runner.run(pool.run(lambda _: pool.run(itself)))
    assert opener.open_now == 0
    runner.run(pool.close())


def test_each_event_loop_has_connections_of_its_own() -> None:
    pool, opener = made("async")
    used = [asyncio.run(_used(pool)) for _ in range(2)]
    assert used[0] is not used[1]
    assert opener.open_now == 0  # each loop closed its own at its end
    asyncio.run(pool.close())


async def _used(pool: ConnectionPool[Connection]) -> Connection:
    return await pool.run(itself)


def test_a_cancelled_call_gives_its_place_back() -> None:
    pool, opener = made("async", limit=1)

    async def program() -> None:
        started = asyncio.Event()

        async def stay(_: Connection) -> None:
            started.set()
            await asyncio.Event().wait()

        first = asyncio.create_task(pool.run(stay))
        await started.wait()
        second = asyncio.create_task(pool.run(itself))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert (await pool.run(itself)).is_open
        await pool.close()

    asyncio.run(program())
    assert len(opener.opened) == 1


def test_a_waiting_thread_is_served_when_another_ends() -> None:
    pool, _ = made("blocking", limit=1)
    inside, leave = threading.Event(), threading.Event()

    async def stay(connection: Connection) -> Connection:
        inside.set()
        assert leave.wait(30)
        return connection

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lambda: run_now(pool.run(stay)))
        assert inside.wait(30)
        second = threads.submit(lambda: run_now(pool.run(itself)))
        wait_until(lambda: len(pool._here._slots._waiting) == 1, "the second call to wait")
        leave.set()
        assert first.result(30) is second.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_connections_of_its_own_and_closes_none_of_its_parent() -> None:
    pool, _ = made("blocking")
    parent = run_now(pool.run(itself))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = run_now(pool.run(itself))
            run_now(pool.close())
            os.write(writer, b"well" if mine is not parent and parent.is_open and not mine.is_open else b"ill")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 10) == b"well"
    os.close(reader)
    os.waitpid(child, 0)
    assert run_now(pool.run(itself)) is parent
    run_now(pool.close())


def interrupted(call: Callable[[], object], point: int) -> bool:
    """Whether the call was interrupted at this point: where Python runs signal handlers, after calls and at the
    beginning of functions."""
    passed, struck = 0, False

    def strike(frame: FrameType, event: str, _: Any) -> None:
        nonlocal passed, struck
        has_begun = passed > 0 or frame.f_code is ConnectionPool.run.__code__
        passed += has_begun and event in ("call", "c_return")
        if passed == point:
            struck = True
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    try:
        sys.setprofile(strike)
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(before)
    return struck


def test_an_interrupt_at_any_point_leaves_the_place_free_and_no_connection_taken() -> None:
    point = 1
    while True:
        pool, opener = made("blocking", limit=1, patience=5)
        if point % 2:  # every second call finds an open connection
            run_now(pool.run(itself))
        struck = interrupted(lambda pool=pool: run_now(pool.run(itself)), point)  # type: ignore[misc]
        assert run_now(pool.run(itself)).is_open, point
        run_now(pool.close())
        assert sum(connection.is_open for connection in opener.opened) <= struck, point
        if not struck:
            break
        point += 1
    assert point > 20
