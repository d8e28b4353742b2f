"""Servers that die, forget and fall silent in the middle of a load: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis.connection import AbstractConnection

from session_continuity import (
    HealthStatus,
    MessageQuery,
    Mode,
    Patch,
    SessionFilter,
    SessionManager,
    ThrottledError,
    UnavailableError,
    utc_now,
)
from session_continuity.runtime.modes import run_now
from session_continuity_redis import RedisStorage

from ..kit.load import Load, check_history
from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from ..kit.waiting import wait_until
from .conftest import MakeServer
from .stores import Bench, raises_before

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


def test_a_killed_server_loses_nothing_that_it_acknowledged(make_server: MakeServer) -> None:
    server = make_server("--appendonly", "yes", "--appendfsync", "always")
    url = f"{server.url}?retries=0&timeout=2"
    with SessionManager.open(url) as manager:
        manager.create_session(id="s", user_id="ada")
        load = Load(url, "s")
        for _ in range(2):
            load.wait_for(150)
            server.kill()
            seen = len(load.errors)
            wait_until(lambda seen=seen: len(load.errors) > seen, "an error")
            server.start()
        load.wait_for(150)
        check_history(url, "s", load.stop())
        assert {type(error) for error in load.errors} == {UnavailableError}
        assert manager.get_session("s").user_id == "ada"
        assert [each.id for each in manager.list_sessions(user_id="ada")] == ["s"]


def test_forgotten_scripts_and_cut_connections_duplicate_nothing(make_server: MakeServer) -> None:
    server = make_server()
    proxy = RedisProxy(server.port)
    with SessionManager.open(server.url) as manager, server.client() as client:
        manager.create_session(id="s")
        load = Load(proxy.url, "s")
        for _ in range(10):
            load.wait_for(30)
            client.script_flush()
            load.wait_for(30)
            proxy.cut()
            load.wait_for(30)
            proxy.swallow_next_reply()
        check_history(server.url, "s", load.stop())
    proxy.close()


def test_a_silent_server_is_a_typed_error_after_the_timeout_and_serves_again(
    make_server: MakeServer, mode: Mode
) -> None:
    server = make_server()
    bench = Bench(f"{server.url}?timeout=0.3&retries=0", mode)
    bench.create()
    server.freeze()
    with pytest.raises(UnavailableError) as refused:
        bench.append("one")
    assert refused.value.retryable
    assert refused.value.__cause__ is not None
    health = bench(bench.store.health())
    assert (health.status, bool(health.remedy)) == ("unhealthy", True)
    server.thaw()
    wait_until(lambda: _status(bench) != "unhealthy", "the server to answer")
    bench.append("two")
    assert bench.contents()[-1] == "two"
    bench.close()


def _status(bench: Bench) -> str:
    health: HealthStatus = bench(bench.store.health())
    return health.status


def test_a_cancelled_call_leaves_no_answer_for_the_next(server: Server, namespace: str) -> None:
    async def scenario(bench: Bench) -> None:
        store = bench.store
        for number in range(60):
            call = asyncio.ensure_future(store.append_messages("s", [bench.message(f"m{number}")]))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            found = await store.get_session("s")
            assert found is not None
            page = await store.get_messages("s", MessageQuery(limit=1000))
            assert found.message_count <= len(page)
            assert len({message.id for message in page}) == len(page)

    bench = Bench(f"{server.url}?namespace={namespace}", "async")
    bench.create()
    bench(scenario(bench))
    bench.close()


class TimeIsUpError(Exception):
    """What the handler of an alarm raises."""


@pytest.mark.parametrize("by", [KeyboardInterrupt, TimeIsUpError])
@pytest.mark.parametrize("own_connection", [False, True])
def test_ctrl_c_between_question_and_answer_leaves_no_answer_for_the_next(
    server: Server, namespace: str, by: type[BaseException], own_connection: bool
) -> None:
    client = redis.Redis(port=server.port, single_connection_client=own_connection)
    bench = Bench("", "blocking", driver=RedisStorage(client, namespace=namespace))
    for name in ("a", "b", "c"):
        bench.create(name, user_id=name)
    for _ in range(5):
        with pytest.raises(by), raises_before(AbstractConnection.read_response, by):
            bench(bench.driver.get_session("a"))
        found = bench(bench.store.get_session("b"))
        assert found is not None
        assert found.id == "b"
        with pytest.raises(by), raises_before(AbstractConnection.read_response, by):
            bench(bench.driver.list_sessions(SessionFilter(user_id="c"), limit=5))
        assert [each.id for each in bench(bench.store.list_sessions(SessionFilter(user_id="b"), limit=5))] == ["b"]
    client.close()


def test_a_call_that_is_cancelled_when_its_data_is_out_ends_cancelled(server: Server, namespace: str) -> None:
    async def scenario(bench: Bench) -> None:
        for is_forgotten in (False, True, True):
            if is_forgotten:
                with server.client() as client:
                    client.script_flush()
            call = asyncio.ensure_future(bench.store.get_session("s"))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()

    bench = Bench(f"{server.url}?namespace={namespace}", "async")
    bench.create()
    bench(scenario(bench))
    bench.close()


def test_more_callers_than_connections_wait_for_one(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&max_connections=3", "async")
    bench.create()

    async def all_at_once() -> None:
        await asyncio.gather(*(bench.store.append_messages("s", [bench.message(str(n))]) for n in range(50)))

    bench(all_at_once())
    assert sorted(map(int, bench.contents())) == list(range(50))
    bench.close()


Refusal = Callable[[Server], None]


def test_a_full_server_refuses_the_write_whole(make_server: MakeServer) -> None:
    server = make_server("--maxmemory-policy", "noeviction")
    bench = Bench(server.url, "blocking")
    bench.create(user_id="ada")
    with server.client() as client:
        client.config_set("maxmemory", "1mb")
        for refused in (
            lambda: bench.append("one"),
            lambda: bench(bench.store.update_session("s", Patch(set={"handoffs": []}, clear=frozenset({"user_id"})))),
        ):
            with pytest.raises(UnavailableError, match="memory is full"):
                refused()
        client.config_set("maxmemory", "0")
    found = run_now(bench.store.get_session("s"))
    assert found is not None
    assert (found.user_id, found.version, found.message_count) == ("ada", 1, 0)
    bench.close()


def test_a_replica_refuses_writes_and_says_where_to_go(make_server: MakeServer) -> None:
    primary = make_server()
    replica = make_server("--replicaof", "127.0.0.1", str(primary.port))
    bench = Bench(replica.url, "blocking")
    with replica.client() as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica's link")
    with pytest.raises(UnavailableError, match="primary"):
        bench.create(created_at=utc_now())
    health = bench(bench.store.health())
    assert health.status == "degraded"
    assert "primary" in str(health.remedy)
    bench.close()


def test_more_threads_than_connections_wait_for_one(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&max_connections=2", "blocking")
    bench.create("s", user_id="ada")

    def work(number: int) -> None:
        bench.append(str(number))
        assert [each.id for each in bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=9))] == ["s"]

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(60)))
    assert sorted(map(int, bench.contents())) == list(range(60))
    bench.close()


def test_waiting_for_a_connection_ends_in_a_typed_error(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&max_connections=1&timeout=0.2", "blocking")
    bench.create()
    pool = bench.driver._client._clients[0].connection_pool
    taken = pool.get_connection()
    with pytest.raises(ThrottledError, match="max_connections"):
        bench.append("one")
    pool.release(taken)
    bench.append("two")
    bench.close()


def test_a_pool_of_the_application_that_waits_in_vain_is_no_server_that_cannot_be_reached(
    server: Server, namespace: str
) -> None:
    pool = redis.BlockingConnectionPool(max_connections=1, timeout=0.1, port=server.port)
    client = redis.Redis(connection_pool=pool)
    bench = Bench("", "blocking", driver=RedisStorage(client, namespace=namespace))
    taken = pool.get_connection()
    with pytest.raises(ThrottledError, match="max_connections"):
        bench.create()
    pool.release(taken)
    bench.create()
    client.close()
