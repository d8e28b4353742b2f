"""Servers and clients that die, fall silent or become read-only: what was acknowledged is there, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from session_continuity import MessageQuery, SessionFilter, SessionManager, StorageError, UnavailableError, utc_now
from session_continuity_conformance.faults.proxy import Proxy

from ..kit.conversations import contents, new_session
from ..kit.load import Load, check_history
from ..kit.ports import free_port
from ..kit.postgres_servers import PostgresServer
from ..kit.waiting import wait_until
from .conftest import Bench


def test_a_killed_server_loses_nothing_that_it_acknowledged(own_server: PostgresServer) -> None:
    url = f"{own_server.url}?timeout=5"
    with SessionManager.open(url) as manager:
        manager.create_session(id="s", user_id="ada")
        load = Load(url, "s")
        load.wait_for(100)
        own_server.kill()
        wait_until(lambda: load.errors, "an error")
        own_server.start()
        load.wait_for(100)
        check_history(url, "s", load.stop())
        assert {type(error) for error in load.errors} == {UnavailableError}
        assert manager.get_session("s").user_id == "ada"


def test_lost_replies_and_cut_connections_duplicate_nothing(server: PostgresServer, namespace: str) -> None:
    query = f"namespace={namespace}&sslmode=disable"
    direct = f"{server.url}?{query}"
    with Proxy("127.0.0.1", server.port) as proxy, SessionManager.open(direct) as manager:
        manager.create_session(id="s")
        load = Load(f"postgresql://postgres@{proxy.host}:{proxy.port}/postgres?{query}", "s")
        wait_until(lambda: {name[0] for name in load.acknowledged} == {*"0123"}, "all writers to have begun")
        for _ in range(5):
            load.wait_for(20)
            proxy.cut()
            load.wait_for(20)
            proxy.plan("lose the reply")
        check_history(direct, "s", load.stop())
        assert load.errors


WRITER = """
import sys
from session_continuity import SessionManager
with SessionManager.open(sys.argv[1]) as manager:
    for number in range(10**6):
        manager.add_messages("s", [{"role": "user", "content": f"{number} {part}"} for part in range(3)])
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_batches_and_no_lock(server: PostgresServer, namespace: str) -> None:
    url = f"{server.url}?namespace={namespace}"
    with SessionManager.open(url) as manager:
        manager.create_session(id="s")
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(20):
            assert writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = 20 + len(writer.stdout.readlines())
        writer.stdout.close()
        writer.wait(30)
        manager.add_message("s", "user", "after")
        stored = [str(content) for content in contents(manager.get_messages("s"))]
        batches = len(stored[:-1]) // 3
        assert stored == [*(f"{number} {part}" for number in range(batches) for part in range(3)), "after"]
        assert batches - acknowledged in (0, 1)
        assert manager.get_session("s").message_count == len(stored)


def test_a_silent_server_is_an_error_after_the_timeout_and_serves_again(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    with Proxy("127.0.0.1", server.port) as proxy:
        query = f"namespace={namespace}&timeout=0.3&sslmode=disable"
        bench = opened(f"postgresql://postgres@{proxy.host}:{proxy.port}/postgres?{query}")
        bench(bench.store.create_session(new_session("s", now=utc_now())))
        proxy.plan("stall")
        began = monotonic()
        with pytest.raises(UnavailableError):
            bench(bench.store.get_session("s"))
        assert monotonic() - began < 20
        proxy.unplan()
        assert bench(bench.store.get_session("s")) is not None


def test_connections_that_the_server_closed_are_noticed_before_they_are_used(
    server: PostgresServer, bench: Bench
) -> None:
    bench(bench.store.create_session(new_session("s", now=utc_now())))
    (pid,) = bench(bench.driver.native.connections.run(_backend))
    server.execute(f"SELECT pg_terminate_backend({pid})")
    wait_until(lambda: not server.execute(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"), "the backend to end")
    assert bench(bench.store.get_session("s")) is not None


async def _backend(connection: object) -> tuple[int]:
    rows = await connection.fetch(b"SELECT pg_backend_pid()")  # type: ignore[attr-defined]
    return (rows[0][0],)


def test_a_primary_that_becomes_a_standby_is_left(own_server: PostgresServer, opened: Callable[[str], Bench]) -> None:
    """Two servers, the second a streaming replica of the first, which is promoted when the first one becomes
    read-only."""
    standby = PostgresServer(fsync="on", port=free_port())
    try:
        own_server.run(
            "pg_basebackup", "-D", str(standby.data), "-h", "127.0.0.1", "-p", str(own_server.port), "-U", "postgres",
            "-R", "--checkpoint=fast", "--no-sync",
        )  # fmt: skip
        standby.start()
        hosts = f"127.0.0.1:{own_server.port},127.0.0.1:{standby.port}"
        bench = opened(f"postgresql://postgres@/postgres?host={hosts}")
        bench(bench.store.create_session(new_session("s", now=utc_now())))
        bench(bench.store.append_messages("s", [bench.speaker.says("before")]))
        wait_until(lambda: _replayed(own_server, standby), "the standby to catch up")
        own_server.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        standby.execute("SELECT pg_promote()")
        refused: list[StorageError] = []

        def stored() -> bool:
            try:
                bench(bench.store.append_messages("s", [bench.speaker.says("after")]))
            except UnavailableError as error:
                refused.append(error)
                return False
            return True

        wait_until(stored, "the new primary to take the message")
        assert "read-only" in str(refused[0])
        assert contents(bench(bench.store.get_messages("s", MessageQuery()))) == ["before", "after"]
        assert standby.execute("SELECT count(*) FROM session_continuity.messages") == [(2,)]
    finally:
        standby.stop()


def _replayed(primary: PostgresServer, standby: PostgresServer) -> bool:
    ((written,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
    return standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == [(True,)]


def test_a_refused_connection_says_why_at_once(opened: Callable[[str], Bench], server: PostgresServer) -> None:
    for url, part in {
        f"postgresql://postgres@127.0.0.1:{free_port()}/postgres": "was not reached",
        f"postgresql://nobody_known@127.0.0.1:{server.port}/postgres": "refuses this user",
        f"postgresql://postgres@127.0.0.1:{server.port}/nowhere": "there is no such database",
    }.items():
        began = monotonic()
        with pytest.raises(StorageError, match=part):
            opened(url)
        assert monotonic() - began < 20


def test_a_lock_that_another_program_holds_ends_with_the_timeout(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    bench = opened(f"{server.url}?namespace={namespace}&timeout=0.5")
    bench(bench.store.create_session(new_session("s", now=utc_now())))
    with server.client() as other, other.transaction():
        other.execute("SELECT FROM session_continuity.sessions WHERE namespace = %s FOR UPDATE", [namespace])
        with pytest.raises(UnavailableError):
            bench(bench.store.append_messages("s", [bench.speaker.says("late")]))
        assert bench(bench.store.get_session("s")) is not None  # reads do not wait
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    wait_until(lambda: not server.execute(waiting), "the server to end the append")
    bench(bench.store.append_messages("s", [bench.speaker.says("next")]))
    assert contents(bench(bench.store.get_messages("s", MessageQuery())))[-1] == "next"


def test_more_calls_than_connections_wait_for_their_turn(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    bench = opened(f"{server.url}?namespace={namespace}&max_connections=2")
    before = threading.active_count()
    results = bench.runner.run_together(
        *[lambda: bench.store.list_sessions(SessionFilter(user_id="u"), limit=1) for _ in range(20)]
    )
    assert all(not isinstance(result, BaseException) for result in results), results
    assert threading.active_count() <= before + 1  # the pool has no threads
