"""What an operation costs, counted: round trips through a proxy, commands and calls by the server's own books; the same
at N and at 10 N messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import MessageQuery, Mode, Patch, SessionFilter, SessionManager, TokenBudget, utc_now

from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from ..kit.waiting import wait_until
from .stores import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)

SMALL, LARGE = 100, 1000
BUDGETED = TokenBudget(max_tokens=15, reserve_tokens=0)  # twelve messages, and the frame of the answer


@pytest.fixture
def counted(proxy: RedisProxy, mode: Mode, namespace: str) -> Iterator[Bench]:
    opened = Bench(f"{proxy.url}?namespace={namespace}", mode)
    opened.create("warm", user_id="u", expires_at=None)
    warm = opened.append("warm", session_id="warm").messages[0]
    for work in WORK.values():
        work(opened, "warm", warm.id)
    opened(opened.store.list_sessions(SessionFilter(user_id="u"), limit=1))
    opened(opened.store.delete_session("warm"))
    opened.create("small", user_id="u")
    opened.create("large", user_id="u")
    for name, size in (("small", SMALL), ("large", LARGE)):
        opened.append(*map(str, range(size)), session_id=name)
    yield opened
    opened.close()


def calls(server: Server) -> dict[str, int]:
    """How often each command ran, those inside scripts included."""
    with server.client() as client:
        return {name[8:]: told["calls"] for name, told in client.info("commandstats").items()}


WORK: dict[str, Callable[[Bench, str, str], Any]] = {
    "get": lambda b, s, _: b(b.store.get_session(s)),
    "append": lambda b, s, _: b.append("one more", session_id=s),
    "append a batch of 20": lambda b, s, _: b.append(*["one more"] * 20, session_id=s),
    "last 20": lambda b, s, _: b(b.store.get_messages(s, MessageQuery(order="desc", limit=20))),
    "last 20 of a role": lambda b, s, _: b(
        b.store.get_messages(s, MessageQuery(order="desc", limit=20, roles=frozenset({"user"})))
    ),
    "20 after a message": lambda b, s, m: b(b.store.get_messages(s, MessageQuery(limit=20, after_id=m))),
    "a message": lambda b, s, m: b(b.store.get_message(s, m)),
    "messages by id": lambda b, s, m: b(b.store.get_messages(s, MessageQuery(ids=frozenset({m})))),
    "edit": lambda b, s, m: b(b.store.update_message(s, m, Patch(set={"content": "edited", "token_count": 3}))),
    "remove": lambda b, s, m: b(b.store.delete_message(s, m)),
    "update": lambda b, s, _: b(b.store.update_session(s, Patch(set={"handoffs": []}))),
    "update a field of the index": lambda b, s, _: b(
        b.store.update_session(s, Patch(set={"user_id": f"u{b.message().id}"}))
    ),
}
BUDGET = {"edit": 2}


@pytest.mark.parametrize("name", WORK)
def test_an_operation_costs_the_same_at_ten_times_the_messages(
    counted: Bench, proxy: RedisProxy, server: Server, name: str
) -> None:
    spent: list[tuple[int, dict[str, int]]] = []
    for session_id in ("small", "large"):
        page = counted(counted.store.get_messages(session_id, MessageQuery(limit=2)))
        trips, before = proxy.requests, calls(server)
        WORK[name](counted, session_id, page[1].id)
        after = calls(server)
        spent.append(
            (
                proxy.requests - trips,
                {each: after[each] - before.get(each, 0) for each in after if each not in ("info", "client|setinfo")},
            )
        )
    (small_trips, small), (large_trips, large) = spent
    assert small_trips == large_trips == BUDGET.get(name, 1)
    assert small == large
    assert sum(small.values()) > small_trips


@pytest.mark.parametrize(("sliding_ttl", "slides"), [(60.0, True), (None, False)])
def test_an_append_tells_whether_the_session_slides_in_the_same_round_trip(
    counted: Bench, proxy: RedisProxy, sliding_ttl: float | None, slides: bool
) -> None:
    counted.create("expiring", expires_at=utc_now() + timedelta(hours=1), sliding_ttl=sliding_ttl)
    before = proxy.requests
    assert counted.append("hello", session_id="expiring").slides is slides
    assert counted.append("hello", session_id="small").slides is False
    assert proxy.requests - before == 2


def test_a_time_bound_costs_a_step_for_each_doubling(counted: Bench, proxy: RedisProxy, server: Server) -> None:
    spent: list[int] = []
    for session_id in ("small", "large"):
        middle = counted(counted.store.get_messages(session_id, MessageQuery(limit=150)))[-1]
        trips, before = proxy.requests, sum(calls(server).values())
        counted(counted.store.get_messages(session_id, MessageQuery(after=middle.created_at, limit=20)))
        spent.append(sum(calls(server).values()) - before)
        assert proxy.requests - trips == 1
    assert spent[1] - spent[0] <= 2 * 4


@pytest.mark.usefixtures("counted")
def test_a_context_takes_one_round_trip_with_early_system_messages_too(proxy: RedisProxy, namespace: str) -> None:
    with SessionManager.open(f"{proxy.url}?namespace={namespace}", token_budget=BUDGETED) as manager:
        manager.get_conversation_context("small")
        for session_id in ("small", "large"):
            before = proxy.requests
            assert len(manager.get_conversation_context(session_id)) == 12
            assert proxy.requests - before == 1
        manager.create_session(id="told")
        manager.add_message("told", role="system", content="s", token_count=1)
        for _ in range(2):
            manager.add_messages("told", [{"role": "user", "content": "u", "token_count": 1}] * 30)
        before = proxy.requests
        assert [message.role for message in manager.get_conversation_context("told")][:2] == ["system", "user"]
        assert proxy.requests - before == 1


def test_a_list_of_100_a_creation_and_a_delete_take_one_round_trip(counted: Bench, proxy: RedisProxy) -> None:
    def trips(work: Callable[[], Any]) -> int:
        before = proxy.requests
        work()
        return proxy.requests - before

    created = [trips(lambda number=number: counted.create(f"s{number}", user_id="ada")) for number in range(100)]
    assert set(created) == {1}

    def listing() -> int:
        return len(counted(counted.store.list_sessions(SessionFilter(user_id="ada"), limit=100)))

    assert listing() == 100
    assert trips(listing) == 1
    paused = SessionFilter(user_id="ada", status="paused")
    assert trips(lambda: counted(counted.store.list_sessions(paused, limit=10))) == 1
    assert trips(lambda: counted(counted.store.delete_session("s1"))) == 1
    assert trips(lambda: counted(counted.store.delete_session("large"))) == 1


def test_no_script_holds_the_server_for_a_long_list(bench: Bench, server: Server) -> None:
    """Every other client waits while a script runs: a list reads its sessions in several, and looks up no more names
    in one for a filter of many tags."""
    for number in range(250):
        bench.create(f"s{number}", user_id="ada")

    def spent(wanted: SessionFilter) -> tuple[int, int]:
        before = calls(server)
        assert len(bench(bench.store.list_sessions(wanted, limit=250))) in (0, 250)
        after = calls(server)
        return after["evalsha"] - before["evalsha"], after["zmscore"] - before["zmscore"]

    bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=250))
    assert spent(SessionFilter(user_id="ada")) == (1 + 2, 250)  # the first reads a hundred sessions along
    scripts, looks = spent(SessionFilter(user_id="ada", tags=frozenset(f"t{number}" for number in range(100))))
    assert scripts == 5 + 1
    assert looks <= scripts * 5  # of a thousand names


def test_a_context_of_very_many_system_messages_is_read_in_pieces(bench: Bench, server: Server) -> None:
    """One script that reads them all would keep every other client waiting."""
    bench.create()
    for start in range(0, 2500, 500):
        bench.append(*map(str, range(start, start + 500)), role="system")
    query = MessageQuery(order="desc", limit=10)
    bench(bench.store.get_conversation("s", query))
    before = calls(server)
    found = bench(bench.store.get_conversation("s", query))
    after = calls(server)
    assert [message.content for message in found.system_messages] == [str(number) for number in range(2490)]
    scripts = after["evalsha"] - before["evalsha"]
    assert scripts == 3
    assert after["zrangebyscore"] - before["zrangebyscore"] < scripts * 1010


def test_many_messages_are_removed_behind_the_back_of_the_server(
    counted: Bench, server: Server, namespace: str
) -> None:
    """The server frees them in a thread of its own, so that nobody waits for it; what else the session has, stays."""
    expires_at = utc_now() + timedelta(hours=1)
    counted(counted.store.update_session("large", Patch(set={"expires_at": expires_at, "user_id": "ada"})))
    before = counted(counted.store.get_session("large"))
    key = f"sc:s:{{{namespace}:large}}"
    with server.client() as client:
        life, freed = client.pttl(key), client.info("memory")["lazyfreed_objects"]
        assert counted(counted.store.delete_all_messages("large")) == LARGE
        wait_until(lambda: client.info("memory")["lazyfreed_objects"] == freed + 1, "the thread to free them")
        assert 0 <= life - client.pttl(key) < 60_000
    after = counted(counted.store.get_session("large"))
    assert before is not None
    assert after == before.model_copy(update={"message_count": 0, "token_count": 0})
    counted.append("new", session_id="large")
    assert counted.contents("large") == ["new"]
    assert counted(counted.store.delete_session("large"))


def test_a_view_costs_no_round_trip(counted: Bench) -> None:
    tenant = counted.store.view(namespace=counted.driver.namespace)
    before = counted.driver.round_trips
    view = tenant.view(owner="u")
    assert counted.driver.round_trips == before
    message = counted(view.append_messages("small", [counted.message(session_id="small")])).messages[0]
    counted(view.get_message("small", message.id))
    counted(view.update_session("small", Patch(set={"handoffs": []})))
    assert {session.id for session in counted(view.list_sessions(SessionFilter(), limit=5))} == {"large", "small"}
    assert counted(view.delete_session("small"))
    assert counted.driver.round_trips == before + 5


def test_no_serving_path_walks_the_keyspace(bench: Bench, server: Server) -> None:
    before = calls(server)
    bench.create("s", user_id="u", metadata={"tags": ["t"]}, expires_at=bench.store.clock())
    bench.create("t", user_id="u", metadata={"tags": ["t"]})
    message = bench.append("one", session_id="t").messages[0]
    for work in WORK.values():
        work(bench, "t", message.id)
    bench(bench.store.get_expired_sessions(bench.store.clock(), limit=10))
    for wanted in (SessionFilter(), SessionFilter(tags=frozenset({"t"}))):
        bench(bench.store.list_sessions(wanted, limit=10))
    bench(bench.store.delete_all_messages("t"))
    bench(bench.store.delete_session("t"))
    ran = {name for name, count in calls(server).items() if count > before.get(name, 0)}
    assert not ran & {"keys", "scan", "randomkey", "zscan", "zrange", "sort"}
    assert ran >= {"evalsha", "zadd", "unlink"}
