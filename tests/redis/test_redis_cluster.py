"""A real cluster: nodes of their own for sessions and index, slots that move, a primary that dies, under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.connection import AbstractConnection

from session_continuity import (
    ConcurrencyError,
    Mode,
    Patch,
    SessionFilter,
    SessionManager,
    UnavailableError,
    utc_now,
)
from session_continuity_redis import RedisStorage
from session_continuity_redis.client import ScriptClient
from session_continuity_redis.index import Index
from session_continuity_redis.keys import Keys

from ..kit.clocks import Clock
from ..kit.conversations import new_session
from ..kit.load import Load, check_history
from ..kit.modes import MODES
from ..kit.redis_cluster import Cluster, cluster_command, slot_of
from ..kit.redis_servers import EVERY_ENGINE
from ..kit.waiting import wait_until
from .stores import Bench, is_trace, raises_before

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


def keys_in(cluster: Cluster, namespace: str) -> list[bytes]:
    found: list[bytes] = []
    for node in cluster.primaries:
        with node.client() as client:
            found += [key for key in client.execute_command("KEYS", "*") if f"{{{namespace}:".encode() in key]
    return found


def has_content(cluster: Cluster, namespace: str) -> bool:
    for node in cluster.primaries:
        with node.client() as client:
            keys = [key for key in client.execute_command("KEYS", "*") if f"{{{namespace}:".encode() in key]
            if not all(is_trace(client, key) for key in keys):
                return True
    return False


def test_a_change_whose_writer_died_before_the_index_is_listed_at_once(
    clustered: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clustered.create(user_id="ada")
    with monkeypatch.context() as patched:
        patched.setattr(Index, "put", dead)
        with pytest.raises(UnavailableError):
            clustered(clustered.store.update_session("s", Patch(set={"user_id": "bob"})))

    def listed(user_id: str) -> list[str]:
        return [each.id for each in clustered(clustered.store.list_sessions(SessionFilter(user_id=user_id), limit=9))]

    assert listed("bob") == ["s"]
    assert listed("ada") == []


def test_turns_on_a_cluster_create_and_change_sessions_that_are_listed(clustered: Bench) -> None:
    def listed(user_id: str) -> list[str]:
        return [each.id for each in clustered(clustered.store.list_sessions(SessionFilter(user_id=user_id), limit=9))]

    store = clustered.store
    new = new_session("s", now=utc_now(), user_id="ada")
    assert clustered(store.append_messages("s", [clustered.message("one")], create=new)).created
    assert listed("ada") == ["s"]
    assert not clustered(store.append_messages("s", [clustered.message("two")], create=new)).created
    change = Patch(set={"user_id": "bob"})
    clustered(store.append_messages("s", [clustered.message("three")], patch=change, expected_version=1))
    with pytest.raises(ConcurrencyError):
        clustered(store.append_messages("s", [clustered.message("four")], patch=change, expected_version=1))
    assert (listed("ada"), listed("bob")) == ([], ["s"])
    assert clustered.contents() == ["one", "two", "three"]


async def dead(*_: object, **__: object) -> None:
    raise ConnectionResetError("the writer dies here")


def test_sessions_and_index_spread_over_the_nodes_and_leave_nothing(
    clustered: Bench, shared: Cluster, namespace: str
) -> None:
    clock = Clock(utc_now())
    clustered.store.clock = clock
    for number in range(60):
        clustered.create(
            f"s{number}",
            user_id=f"u{number % 2}",
            metadata={"tags": [f"t{number % 3}"]},
            expires_at=clock.now + timedelta(seconds=1 + number),
        )
        clustered.append(f"m{number}", session_id=f"s{number}")
    owners = {shared.owner(slot_of(key.decode())).port for key in keys_in(shared, namespace) if b":i:" in key}
    assert len(owners) == 3
    seen: list[str] = []
    cursor = None
    while True:
        wanted = SessionFilter(user_id="u1", tags=frozenset({"t0", "t1"}))
        page = clustered(clustered.store.list_sessions(wanted, limit=7, cursor=cursor))
        seen += [each.id for each in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"s{n}" for n in range(60) if n % 2 == 1 and n % 3 in (0, 1))
    assert len(seen) == len(set(seen))
    clock.advance(seconds=30)
    expired = list(clustered(clustered.store.get_expired_sessions(clock.now, limit=100)))
    assert expired == [f"s{number}" for number in range(30)]
    for number in range(60):
        clustered(clustered.store.delete_session(f"s{number}"))
    assert not has_content(shared, namespace)


def test_an_operation_on_a_cluster_takes_no_more_round_trips(clustered: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[str] = []

    def counted(name: str) -> None:
        original = getattr(ScriptClient, name)

        async def count(self: ScriptClient, *arguments: Any) -> Any:
            trips.append(name)
            return await original(self, *arguments)

        monkeypatch.setattr(ScriptClient, name, count)

    counted("run")
    counted("_pipeline")

    def spent(work: Callable[[], Any]) -> int:
        trips.clear()
        work()
        return len(trips)

    assert spent(lambda: clustered.create(user_id="ada")) == 2
    assert spent(lambda: clustered.append("one", "two")) == 1
    assert spent(lambda: clustered.contents(order="desc", limit=20)) == 1
    for number in range(100):
        clustered.create(f"s{number}", user_id="ada")

    def listing() -> int:
        return len(clustered(clustered.store.list_sessions(SessionFilter(user_id="ada"), limit=100)))

    assert listing() == 100
    assert spent(listing) == 2
    assert spent(lambda: clustered(clustered.store.update_session("s", Patch(set={"user_id": "bob"})))) == 3
    assert spent(lambda: clustered(clustered.store.update_session("s", Patch(set={"handoffs": []})))) == 1
    assert spent(lambda: clustered(clustered.store.delete_session("s"))) == 2


def test_a_cluster_client_that_was_handed_in_serves(shared: Cluster, namespace: str) -> None:
    port = shared.nodes[2].port
    sync = redis.RedisCluster("127.0.0.1", port)
    first = Bench("", "blocking", driver=RedisStorage(sync, namespace=namespace))
    waiting = redis.asyncio.RedisCluster("127.0.0.1", port)
    second = Bench("", "async", driver=RedisStorage(waiting, namespace=namespace))
    by_url = Bench(f"{shared.url}&namespace={namespace}", "blocking")
    assert (first.store.mode, second.store.mode) == ("blocking", "async")
    names = {maker.create(f"s{number}", user_id="ada").id for number, maker in enumerate([first, by_url] * 10)}
    second.append("one", session_id="s0")
    assert first.contents("s0") == ["one"]
    for each in (first, second, by_url):
        listed = each(each.store.list_sessions(SessionFilter(user_id="ada"), limit=50))
        assert {session.id for session in listed} == names
    first.close()
    assert sync.ping()
    sync.close()
    second(waiting.aclose())
    second.close()
    by_url.close()


@pytest.mark.parametrize("connections", [1, 3])
def test_more_callers_than_connections_wait_for_one(
    shared: Cluster, mode: Mode, namespace: str, connections: int
) -> None:
    bench = Bench(f"{shared.url}&namespace={namespace}&max_connections={connections}", mode)
    bench.create(user_id="ada")

    async def work(number: int) -> None:
        await bench.store.append_messages("s", [bench.message(str(number))])
        page = await bench.store.list_sessions(SessionFilter(user_id="ada"), limit=5)
        assert [each.id for each in page] == ["s"]

    if mode == "async":
        bench(_together([work(number) for number in range(40)]))
    else:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda number: bench(work(number)), range(40)))
    assert sorted(map(int, bench.contents())) == list(range(40))
    bench.close()


async def _together(works: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*works)


def test_slots_move_under_load_and_nobody_notices(shared: Cluster, namespace: str) -> None:
    url = f"{shared.url}&namespace={namespace}"
    keys = Keys("sc", namespace, 8)
    with SessionManager.open(url) as manager:
        manager.create_session(id="s", user_id="ada")
        load = Load(url, "s")
        for number in range(6):
            load.wait_for(60)
            slot = slot_of(keys.session("s"))
            target = next(node for node in shared.primaries if node is not shared.owner(slot))
            assert shared.move(slot, target) >= 1
            part = slot_of(keys.index_of("s"))
            shared.move(part, next(node for node in shared.primaries if node is not shared.owner(part)))
            manager.update_session("s", user_id=f"u{number}")
            assert [each.id for each in manager.list_sessions(user_id=f"u{number}")] == ["s"]
        load.wait_for(60)
        check_history(url, "s", load.stop())
        assert {type(error) for error in load.errors} <= {UnavailableError}


def test_sessions_are_created_and_edited_while_their_slot_is_half_moved(
    clustered: Bench, shared: Cluster, namespace: str
) -> None:
    keys = Keys("sc", namespace, 8)
    clustered.create("s", user_id="ada")
    slots = [slot_of(keys.session("s")), slot_of(keys.session("new")), slot_of(keys.index_of("new"))]
    for slot in slots:
        source = shared.owner(slot)
        target = next(node for node in shared.primaries if node is not source)
        cluster_command(target, "SETSLOT", slot, "IMPORTING", shared.id_of(source))
        cluster_command(source, "SETSLOT", slot, "MIGRATING", shared.id_of(target))
    clustered.create("new", user_id="ada")
    clustered.append("one", session_id="new")
    clustered.append("one")
    clustered(clustered.store.update_session("s", Patch(set={"status": "paused"})))
    listed = clustered(clustered.store.list_sessions(SessionFilter(user_id="ada"), limit=5))
    assert {each.id: each.status for each in listed} == {"new": "active", "s": "paused"}
    for slot in slots:
        for node in shared.primaries:
            cluster_command(node, "SETSLOT", slot, "STABLE")


def serves_lists(manager: SessionManager) -> bool:
    try:
        manager.list_sessions(limit=1)
    except UnavailableError:
        return False
    return True


def test_a_killed_primary_is_followed_by_its_replica(one_engine: str, tmp_path: Any) -> None:
    """What Redis promises: writes are replicated after they are acknowledged, so a primary that dies takes with it
    what its replica had not yet received, as a rule the last milliseconds; nothing older, and nothing in part."""
    running = Cluster(one_engine, tmp_path, replicas=1).start()
    try:
        url = f"{running.url}&timeout=2"
        with SessionManager.open(url) as manager:
            slots = {f"s{number}": slot_of(Keys("sc", "", 8).session(f"s{number}")) for number in range(100)}
            name = next(name for name, slot in slots.items() if running.owner(slot) is running.nodes[0])
            manager.create_session(id=name, user_id="ada")
            load = Load(url, name)
            load.wait_for(200)
            with running.nodes[0].client() as client:
                kept = list(load.acknowledged)
                client.execute_command("WAIT", 1, 5000)
            running.nodes[0].kill()
            began = time.monotonic()
            failed = len(load.errors)
            wait_until(lambda: len(load.errors) > failed, "an error")
            load.wait_for(100)
            recovered = time.monotonic() - began
            acknowledged = load.stop()
            stored = [str(message.content) for message in manager.get_messages(name)]
            lost = set(acknowledged) - set(stored)
            assert {type(error) for error in load.errors} == {UnavailableError}
            assert len(stored) == len(set(stored))
            assert not lost & set(kept)
            assert set(stored) <= set(acknowledged)
            assert manager.get_session(name).message_count == len(stored)
            wait_until(lambda: serves_lists(manager), "the nodes that were not concerned to see that the cluster is up")
            assert [each.id for each in manager.list_sessions(user_id="ada")] == [name]
            assert recovered < 30
    finally:
        running.stop()


def test_ctrl_c_between_question_and_answer_leaves_no_answer_for_the_next(shared: Cluster, namespace: str) -> None:
    bench = Bench(f"{shared.url}&namespace={namespace}", "blocking")
    for name in ("a", "b"):
        bench.create(name)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt), raises_before(AbstractConnection.read_response, KeyboardInterrupt):
            bench(bench.store.get_session("a"))
        for name in ("a", "b"):
            found = bench(bench.store.get_session(name))
            assert found is not None
            assert found.id == name
    bench.close()
