"""Lists by last activity: the sets behind them stay what the sessions say, and are filled where they are missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from session_continuity import ForkedFrom, Patch, SessionFilter, SessionOrder, portable, utc_now
from session_continuity_redis import RedisStorage

from ..kit.conversations import new_session
from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from .stores import Bench
from .test_redis_store import ODD_IDS

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)

ORDERS: tuple[SessionOrder, ...] = ("recent", "idle", "newest", "oldest")
EVERYONE = SessionFilter()


def ids(bench: Bench, filter: SessionFilter, *, limit: int = 1000) -> list[str]:
    """The ids of a whole listing, page after page."""
    found: list[str] = []
    cursor = None
    while True:
        page = bench(bench.store.list_sessions(filter, limit=limit, cursor=cursor))
        found += [session.id for session in page]
        if (cursor := page.next_cursor) is None:
            return found


def expected(bench: Bench, names: list[str], filter: SessionFilter) -> list[str]:
    """The ids of these sessions in the order of the filter, by what `get_session` returns."""
    sessions = [session for name in names if (session := bench(bench.store.get_session(name))) is not None]
    sessions = [session for session in sessions if filter.matches(session)]
    return [session.id for session in sorted(sessions, key=filter.place_of, reverse=filter.is_downwards)]


def sets(server: Server, namespace: str) -> dict[bytes, list[tuple[bytes, float]]]:
    """What the sets by activity of a namespace hold, by key."""
    with server.client() as client:
        keys = [key for key in client.scan_iter() if f"{{{namespace}:0}}:r".encode() in key]
        return {key: client.zrange(key, 0, -1, withscores=True) for key in keys}


def drop_sets(server: Server, namespace: str) -> None:
    """Leave the namespace as a version without these sets would."""
    with server.client() as client:
        assert client.delete(*sets(server, namespace))


def test_every_order_follows_every_kind_of_write(bench: Bench, server: Server, namespace: str) -> None:
    names = [f"s{number}" for number in range(6)]
    for name in names:
        bench.create(name, user_id="ada", active_agent_id="a1", metadata={"tags": ["t"]})
    for name in ("s3", "s1", "s4"):
        bench.append("hello", session_id=name)
    turn = bench.message(session_id="s0", created_at=utc_now() + timedelta(seconds=1))
    bench(bench.store.append_messages("s0", [turn], patch=Patch(set={"user_id": "bob", "status": "paused"})))
    tail = bench.message(session_id="s3", created_at=utc_now() + timedelta(seconds=2))
    bench(bench.store.replace_tail("s3", None, [tail]))
    bench(bench.store.update_session("s5", Patch(set={"user_id": None})))
    bench(bench.store.delete_session("s4"))
    bench(bench.store.delete_all_messages("s1"))
    fork = new_session("fork", now=utc_now(), user_id="bob", forked_from=ForkedFrom(session_id="s3"))
    bench(bench.store.fork_session("s3", fork))
    names.append("fork")
    filters = (
        EVERYONE,
        SessionFilter(user_id="ada"),
        SessionFilter(user_id="bob"),
        SessionFilter(status="paused"),
        SessionFilter(active_agent_id="a1", tags=frozenset({"t", "u"}), created_before=utc_now() - timedelta(hours=-1)),
        SessionFilter(user_id="bob", created_after=utc_now()),
    )
    for order in ORDERS:
        for each in filters:
            wanted = replace(each, order=order)
            assert ids(bench, wanted) == ids(bench, wanted, limit=1) == expected(bench, names, wanted)
    for name in names:
        bench(bench.store.delete_session(name))
    assert sets(server, namespace) == {}


def test_odd_ids_and_users_have_their_place(bench: Bench) -> None:
    at = utc_now()
    for number, name in enumerate(ODD_IDS):
        bench.create(name, user_id=ODD_IDS[number // 2], created_at=at, last_activity_at=at)
    for name in ODD_IDS[::3]:
        bench.append("hello", session_id=name)
    for order in ORDERS:
        assert ids(bench, SessionFilter(order=order), limit=3) == expected(bench, ODD_IDS, SessionFilter(order=order))
        for user in ODD_IDS[: len(ODD_IDS) // 2]:
            wanted = SessionFilter(user_id=user, order=order)
            assert ids(bench, wanted, limit=1) == expected(bench, ODD_IDS, wanted) != []


@pytest.mark.parametrize("parts", [1, 3])
def test_pages_by_activity_agree_with_the_sessions(server: Server, namespace: str, mode: str, parts: int) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&index_parts={parts}", mode)  # type: ignore[arg-type]
    names = [f"s{number:03}" for number in range(150)]
    at = utc_now()
    for name in names:
        bench.create(name, user_id="ada", created_at=at, last_activity_at=at)  # of one moment: the id decides
    for name in names[::7]:
        bench.append("hello", session_id=name)
    for order in ORDERS:
        wanted = SessionFilter(user_id="ada", order=order)
        listed = expected(bench, names, wanted)
        for limit in (11, 100, 1000):
            assert ids(bench, wanted, limit=limit) == listed
        behind = wanted.place_of(new_session(listed[70], now=at))
        if behind.id in names[::7]:
            continue
        assert ids(bench, replace(wanted, behind=behind)) == [name for name in listed if name not in listed[:71]]
    bench.close()


def test_what_an_older_version_left_is_filled_in_by_the_first_list(
    bench: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity_redis.index._FILLED_AT_ONCE", 3)
    names = [f"s{number}" for number in range(10)]
    for name in names:
        bench.create(name, user_id="ada" if name < "s5" else "bob")
    for name in names[::-2]:
        bench.append("hello", session_id=name)
    drop_sets(server, namespace)
    bench.append("an append alone fills nothing", session_id="s0")
    assert sets(server, namespace) == {}
    for wanted in (SessionFilter(order="recent"), SessionFilter(user_id="ada", order="idle")):
        assert ids(bench, wanted) == expected(bench, names, wanted)
    bench.append("but follows", session_id="s2")
    wanted = SessionFilter(user_id="ada", order="recent")
    assert ids(bench, wanted) == expected(bench, names, wanted)
    before = bench.driver.round_trips
    assert ids(bench, wanted)[0] == "s2"
    assert bench.driver.round_trips == before + 1


def test_what_the_index_does_not_have_leaves_the_sets(
    bench: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity_redis.index._FILLED_AT_ONCE", 2)
    for name in ("a", "b", "c"):
        bench.create(name, user_id="ada")
    with server.client() as client:
        for key in sets(server, namespace):
            client.zadd(key, {f"ghost{number}": number for number in range(5)} | {"zz": 2**50})
    wanted = SessionFilter(user_id="ada", order="recent")
    assert ids(bench, wanted) == expected(bench, ["a", "b", "c"], wanted)
    assert len(ids(bench, SessionFilter(order="idle"))) == 3
    assert [len(members) for members in sets(server, namespace).values()] == [3, 3]


def test_a_session_whose_key_is_gone_is_left_out(bench: Bench, server: Server, namespace: str) -> None:
    for name in ("a", "b", "c"):
        bench.create(name, user_id="ada")
    with server.client() as client:
        client.delete(f"sc:s:{{{namespace}:b}}")
    assert ids(bench, SessionFilter(user_id="ada", order="oldest")) == ["a", "c"]
    assert ids(bench, SessionFilter(user_id="ada", order="idle")) == ["a", "c"]
    drop_sets(server, namespace)
    assert ids(bench, SessionFilter(user_id="ada", order="idle")) == ["a", "c"]


def test_a_page_by_activity_takes_one_round_trip(bench: Bench, proxy: RedisProxy, mode: str, namespace: str) -> None:
    for number in range(120):
        bench.create(f"s{number}", user_id="ada")
    counted = Bench(f"{proxy.url}?namespace={namespace}", mode)  # type: ignore[arg-type]
    for order in ORDERS:
        counted(counted.store.list_sessions(SessionFilter(user_id="ada", order=order), limit=1))
        before = proxy.requests
        page = counted(counted.store.list_sessions(SessionFilter(user_id="ada", order=order), limit=100))
        assert proxy.requests == before + 1
        assert len(page) == 100
    counted.close()


def test_a_title_leaves_the_page_short_after_ten_looks(bench: Bench) -> None:
    for number in range(45):
        bench.create(f"s{number:02}", user_id="ada", metadata={"title": "Köln" if number in (0, 43) else "other"})
    wanted = SessionFilter(user_id="ada", title="KÖLN", order="recent")
    before = bench.driver.round_trips
    page = bench(bench.store.list_sessions(wanted, limit=2))
    assert [session.id for session in page] == ["s43"]
    assert page.next_cursor is not None
    assert bench.driver.round_trips - before <= 10 + 1  # one more where the server does not have the script
    assert ids(bench, wanted, limit=2) == ["s43", "s00"]


def test_a_view_of_an_owner_lists_its_own_by_activity(bench: Bench) -> None:
    for name, user in (("a", "ada"), ("b", "bob"), ("c", "ada")):
        bench.create(name, user_id=user)
    bench.append("hello", session_id="a", created_at=utc_now() + timedelta(seconds=1))
    view = portable(bench.driver.view(owner="ada"))
    assert isinstance(bench.driver, RedisStorage)
    listed = bench(view.list_sessions(SessionFilter(order="recent"), limit=9))
    assert [session.id for session in listed] == ["a", "c"]
