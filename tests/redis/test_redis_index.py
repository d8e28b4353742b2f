"""The index: what a writer that dies between two keys leaves is put right, and nobody is skipped or shown twice."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest

from session_continuity import (
    ConcurrencyError,
    Mode,
    Patch,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageError,
    UnavailableError,
    utc_now,
)
from session_continuity_redis import RedisStorage, index
from session_continuity_redis.index import Index
from session_continuity_redis.keys import facts_of

from ..kit.clocks import Clock
from ..kit.conversations import new_session
from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from ..kit.waiting import wait_until
from .conftest import MakeServer
from .stores import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


def listed(bench: Bench, **wanted: object) -> list[str]:
    return [each.id for each in bench(bench.store.list_sessions(SessionFilter(**wanted), limit=100))]  # type: ignore[arg-type]


def entries(server: Server, namespace: str) -> set[bytes]:
    """What the index holds but the rows."""
    with server.client() as client:
        return {member for member in client.zrange(f"sc:i:{{{namespace}:0}}", 0, -1) if not member.startswith(b"f|")}


def die_before(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    async def dead(*_: object, **__: object) -> None:
        raise ConnectionResetError("the writer dies here")

    monkeypatch.setattr(Index, method, dead)


@pytest.fixture
def apart(bench: Bench) -> Bench:
    """A store that writes session and index one after the other, as on a cluster."""
    bench.driver._sessions._together = False
    return bench


def test_an_update_whose_writer_died_before_the_index_is_put_right_by_a_list(
    apart: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = apart.create(user_id="ada", metadata={"tags": ["old"]})
    tags = created.metadata.model_copy(update={"tags": ["new"]})
    with monkeypatch.context() as patched:
        die_before(patched, "put")
        with pytest.raises(UnavailableError):
            apart(apart.store.update_session("s", Patch(set={"user_id": "bob", "metadata": tags})))
    assert listed(apart, user_id="bob") == ["s"]
    assert listed(apart, user_id="ada") == []
    assert listed(apart, tags=frozenset({"new"})) == ["s"]
    names = {entry.rsplit(b"|", 2)[0] for entry in entries(server, namespace)}
    assert names == {b"a", b"s|active", b"t|new", b"u|bob", b"p"}
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    listed(apart)
    assert not any(entry.startswith(b"p|") for entry in entries(server, namespace))


def test_a_change_that_is_refused_leaves_no_intent(apart: Bench, server: Server, namespace: str) -> None:
    apart.create(user_id="ada")
    before = entries(server, namespace)
    with pytest.raises(ConcurrencyError):
        apart(apart.store.update_session("s", Patch(set={"user_id": "bob"}), expected_version=7))
    with pytest.raises(SessionNotFoundError):
        apart(apart.store.update_session("nobody", Patch(set={"user_id": "bob"})))
    assert entries(server, namespace) == before


def test_the_index_is_written_again_by_a_change_after_it_was_lost(bench: Bench, server: Server, namespace: str) -> None:
    bench.create(user_id="ada", metadata={"tags": ["vip"]})
    with server.client() as client:
        client.delete(f"sc:i:{{{namespace}:0}}")
    bench(bench.store.update_session("s", Patch(set={"status": "paused"})))
    assert listed(bench, user_id="ada", status="paused", tags=frozenset({"vip"})) == ["s"]


def test_a_list_that_may_not_put_the_index_right_is_a_list_all_the_same(
    make_server: MakeServer, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    primary = make_server()
    bench = Bench(primary.url, mode)
    soon = utc_now() + timedelta(1)
    for name in ("kept", "gone"):
        bench.create(name, user_id="ada", expires_at=soon)
    with primary.client() as client:
        client.delete("sc:s:{:gone}")
    replica = make_server("--replicaof", "127.0.0.1", str(primary.port))
    with replica.client() as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica's link")
    reader = Bench(replica.url, mode)
    assert listed(reader, user_id="ada") == ["kept"]
    assert list(reader(reader.store.get_expired_sessions(soon, limit=9))) == ["kept"]
    reader.close()
    bench.close()


def test_a_session_of_a_newer_version_keeps_nobody_from_creating_and_cleaning_up(
    bench: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity_redis.sessions.PRUNE_ONE_IN", 1)
    bench.create("newer")
    with server.client() as client:
        client.zadd(f"sc:s:{{{namespace}:newer}}", {'"created_at":"in a newer form"': -1})
    bench.create(expires_at=utc_now() + timedelta(1))
    assert bench(bench.store.get_session("s")) is not None
    assert list(bench(bench.store.get_expired_sessions(utc_now(), limit=5))) == []


def test_a_session_of_very_many_tags_is_listed_by_each_and_follows_its_updates(
    bench: Bench, server: Server, namespace: str
) -> None:
    many = [f"t{number}" for number in range(9000)]
    bench.create(user_id="ada", metadata={"tags": many})
    assert listed(bench, tags=frozenset({"t8999"})) == listed(bench, user_id="ada") == ["s"]
    assert listed(bench, user_id="ada", tags=frozenset([*many[8901:], "other"])) == ["s"]
    few = bench(bench.store.get_session("s")).metadata.model_copy(update={"tags": ["few"]})
    bench(bench.store.update_session("s", Patch(set={"metadata": few})))
    assert listed(bench, tags=frozenset({"t8999"})) == []
    assert listed(bench, tags=frozenset({"few"})) == listed(bench, user_id="ada") == ["s"]
    bench(bench.store.delete_session("s"))
    assert entries(server, namespace) == set()


def test_a_repeated_update_finishes_what_its_first_try_did_not(bench: Bench, proxy: RedisProxy, namespace: str) -> None:
    bench.create(user_id="ada")
    through = Bench(f"{proxy.url}?namespace={namespace}", bench.mode)
    through(through.store.get_session("s"))
    proxy.swallow_next_reply()
    changed = through(through.store.update_session("s", Patch(set={"user_id": "bob"}), expected_version=1))
    assert (changed.version, changed.user_id) == (2, "bob")
    assert listed(bench, user_id="bob") == ["s"]
    assert listed(bench, user_id="ada") == []
    through.close()


def test_an_announcement_without_a_session_is_kept_while_its_creation_may_follow(
    bench: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = new_session(now=utc_now(), user_id="ada")
    generation, written = bench(bench.driver._index.announce(announced.id, facts_of(announced)))
    assert written
    assert listed(bench, user_id="ada") == []
    assert entries(server, namespace) != set()
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    assert listed(bench, user_id="ada") == []
    assert entries(server, namespace) == set()
    assert generation > 0


def test_a_creation_that_took_too_long_writes_its_entries_again(apart: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    announce = Index.announce

    async def slow(self: Index, session_id: str, facts: str) -> tuple[int, bool]:
        answer = await announce(self, session_id, facts)
        await self.repair([session_id])
        return answer

    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    monkeypatch.setattr("session_continuity_redis.sessions.ANNOUNCEMENT_LIFE", 0)
    monkeypatch.setattr(Index, "announce", slow)
    apart.create(user_id="ada")
    assert listed(apart, user_id="ada") == ["s"]


def test_a_refused_creation_leaves_the_entries_of_the_session_that_was_first(
    bench: Bench, server: Server, namespace: str
) -> None:
    bench.create(user_id="ada")
    with server.client() as client:
        client.delete(f"sc:i:{{{namespace}:0}}")
    with pytest.raises(SessionExistsError):
        bench.create(user_id="bob", created_at=utc_now() + timedelta(1))
    assert listed(bench, user_id="bob") == []
    assert listed(bench, user_id="ada") == ["s"]


def test_a_delete_that_was_interrupted_is_finished_by_repeating_it(
    apart: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.create(user_id="ada")
    with monkeypatch.context() as patched:
        die_before(patched, "forget")
        with pytest.raises(UnavailableError):
            apart(apart.store.delete_session("s"))
    assert listed(apart) == []
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    assert apart(apart.store.delete_session("s"))
    assert entries(server, namespace) == set()
    assert not apart(apart.store.delete_session("s"))


def test_an_older_state_never_replaces_a_newer_in_the_index(bench: Bench) -> None:
    first = bench.create(user_id="ada")
    found = bench(bench.driver._index.read(["s"], ""))
    generation = found.generations["s"]
    bench(bench.store.update_session("s", Patch(set={"user_id": "bob"})))
    bench(bench.driver._index.put(first, generation))
    assert listed(bench, user_id="bob") == ["s"]
    bench(bench.driver._index.forget("s", generation))
    assert listed(bench, user_id="bob") == ["s"]


def test_a_session_anew_under_a_deleted_id_outlives_the_delayed_end_of_the_delete(bench: Bench) -> None:
    bench.create(user_id="ada")
    generation = bench(bench.driver._index.read(["s"], "")).generations["s"]
    bench(bench.store.delete_session("s"))
    bench.create(user_id="bob")
    bench(bench.driver._index.forget("s", generation))
    assert listed(bench, user_id="bob") == ["s"]


@pytest.mark.parametrize("parts", [1, 3])
def test_sessions_that_the_server_reaped_leave_the_index_as_others_are_created(
    server: Server, namespace: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    clock = Clock(utc_now())
    bench = Bench(f"{server.url}?namespace={namespace}&grace=0&index_parts={parts}", "blocking")
    bench.store.clock = clock
    for number in range(40):
        bench.create(f"old{number}", user_id="ada", expires_at=clock.now + timedelta(milliseconds=1))
    clock.advance(days=1)
    number = 0
    with server.client() as client:
        while any(
            b"|old" in member for key in bench.driver._runner.keys.index() for member in client.zrange(key, 0, -1)
        ):
            bench.create(f"new{number}", user_id="ada", expires_at=clock.now + timedelta(hours=1))
            number += 1
            assert number < 2000, "the index never forgets"
    bench.close()


def test_a_cleanup_clears_what_lies_in_the_index_without_a_session(
    bench: Bench, server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "ORPHAN_AGE", 0)
    for number in range(5):
        dead = new_session(f"dead{number}", now=utc_now(), user_id="ada")
        bench(bench.driver._index.announce(dead.id, facts_of(dead)))
    for _ in range(50):
        bench(bench.store.get_expired_sessions(utc_now(), limit=10))
        if not entries(server, namespace):
            return
    raise AssertionError(f"still there: {entries(server, namespace)}")


def test_every_condition_narrows_a_list(bench: Bench) -> None:
    start = utc_now() - timedelta(hours=1)
    made: list[Session] = []
    for number in range(24):
        made.append(
            bench.create(
                f"s{number}",
                user_id=f"u{number % 2}",
                active_agent_id=f"a{number % 3}" if number % 4 else None,
                status="completed" if number % 5 == 0 else "active",
                metadata={"tags": [f"t{number % 6}", f"t{number % 4}"]},
                created_at=start + timedelta(seconds=number // 2),
            )
        )
    filters = [
        SessionFilter(),
        SessionFilter(user_id="u1", status="active"),
        SessionFilter(user_id="u0", active_agent_id="a1", tags=frozenset({"t1", "t4"})),
        SessionFilter(tags=frozenset({"t0", "t3", "t5"})),
        SessionFilter(tags=frozenset({"t0", "nobody's"}), status="completed"),
        SessionFilter(status="completed", created_after=start + timedelta(seconds=3)),
        SessionFilter(created_after=start + timedelta(seconds=2), created_before=start + timedelta(seconds=9)),
        SessionFilter(user_id="u1", created_before=start + timedelta(seconds=4, microseconds=5)),
        SessionFilter(user_id="nobody"),
    ]
    newest_first = sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)
    for wanted in filters:
        seen: list[str] = []
        cursor = None
        while True:
            page = bench(bench.store.list_sessions(wanted, limit=3, cursor=cursor))
            seen += [each.id for each in page]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == [each.id for each in newest_first if wanted.matches(each)], wanted


@pytest.mark.parametrize("parts", [1, 4])
def test_a_list_read_while_others_write_shows_everyone_who_stays_once(
    server: Server, namespace: str, parts: int
) -> None:
    url = f"{server.url}?namespace={namespace}&index_parts={parts}"
    bench, busy = Bench(url, "blocking"), Bench(url, "blocking")
    start = utc_now() - timedelta(hours=1)
    rng = random.Random(7)
    stay = {
        bench.create(f"stay{number}", user_id="ada", created_at=start + timedelta(seconds=rng.randrange(40))).id
        for number in range(120)
    }
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            name = f"pass{number % 50}"
            at = start + timedelta(seconds=rng.randrange(40))
            if not busy(busy.store.delete_session(name)):
                busy.create(name, user_id="ada", created_at=at)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(15):
            seen: list[str] = []
            cursor = None
            while True:
                page = bench(bench.store.list_sessions(SessionFilter(user_id="ada"), limit=7, cursor=cursor))
                seen += [each.id for each in page if each.id.startswith("stay")]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert len(seen) == len(set(seen))
            assert set(seen) == stay
    finally:
        done.set()
        writer.join()
        bench.close()
        busy.close()


def test_a_list_with_many_expired_sessions_still_fills_its_page(bench: Bench) -> None:
    clock = Clock(utc_now())
    bench.store.clock = clock
    for number in range(30):
        bench.create(f"old{number}", expires_at=clock.now + timedelta(seconds=1))
    for number in range(3):
        bench.create(f"live{number}", created_at=clock.now - timedelta(hours=1))
    clock.advance(minutes=1)
    page = bench(bench.store.list_sessions(SessionFilter(), limit=2))
    while page.next_cursor is not None and not page:
        page = bench(bench.store.list_sessions(SessionFilter(), limit=2, cursor=page.next_cursor))
    assert [each.id for each in page] == ["live2", "live1"]


def test_a_session_anew_is_listed_and_deleted_though_the_clock_of_the_server_was_ahead(
    bench: Bench, server: Server, namespace: str
) -> None:
    """A replica that took over, its clock behind: what is left in the index of an earlier session of the same id is
    dated in the future."""
    ahead = int(bench.store.clock().timestamp() + 3600) * 1_000_000
    bench(
        bench.driver._index.put(new_session(now=utc_now(), user_id="ada", created_at=utc_now() - timedelta(1)), ahead)
    )
    bench.create(user_id="bob")
    assert listed(bench, user_id="bob") == ["s"]
    bench(bench.store.update_session("s", Patch(set={"user_id": "eve"})))
    assert listed(bench, user_id="eve") == ["s"]
    assert bench(bench.store.delete_session("s"))
    assert entries(server, namespace) == set()


def test_two_creations_of_one_id_leave_the_winner_in_the_index(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = RedisStorage(server.client(), namespace=namespace)
    bench = Bench(f"{server.url}?namespace={namespace}", "blocking")
    bench.driver._sessions._together = False
    announce = Index.announce

    async def overtaken(self: Index, session_id: str, facts: str) -> tuple[int, bool]:
        answer = await announce(self, session_id, facts)
        monkeypatch.setattr(Index, "announce", announce)
        await winner.create_session(new_session(now=utc_now(), user_id="first", created_at=utc_now() - timedelta(1)))
        return answer

    monkeypatch.setattr(Index, "announce", overtaken)
    with pytest.raises(SessionExistsError):
        bench.create(user_id="second")
    assert listed(bench, user_id="first") == ["s"]
    assert listed(bench, user_id="second") == []
    bench.close()


@pytest.mark.parametrize("parts", [1, 3])
def test_a_list_that_looks_at_few_entries_a_time_misses_none(
    server: Server, namespace: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_MAX_ENTRIES", 3)
    bench = Bench(f"{server.url}?namespace={namespace}&index_parts={parts}", "blocking")
    start = utc_now()
    for number in range(40):
        bench.create(
            f"s{number:02}",
            metadata={"tags": [f"t{number % 5}", f"u{number % 7}"]},
            status="paused" if number in (1, 3, 6, 31) else "active",
            created_at=start + timedelta(milliseconds=number),
        )
    seen: list[str] = []
    cursor = None
    while True:
        wanted = SessionFilter(tags=frozenset({"t1", "u3"}), status="paused")
        page = bench(bench.store.list_sessions(wanted, limit=2, cursor=cursor))
        seen += [each.id for each in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["s31", "s06", "s03", "s01"]
    bench.close()


def test_forgotten_scripts_are_sent_again_also_within_one_round_trip(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&index_parts=4", "blocking")
    bench.create(user_id="ada")
    with server.client() as client:
        client.script_flush()
    assert listed(bench, user_id="ada") == ["s"]
    bench.close()


def test_an_error_of_one_part_is_typed(server: Server, namespace: str) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&index_parts=2", "blocking")
    with server.client() as client:
        client.set(f"sc:i:{{{namespace}:1}}", "theirs")
    with pytest.raises(StorageError, match="another application"):
        listed(bench)
    with pytest.raises(StorageError, match="another application"):
        bench(bench.store.get_expired_sessions(utc_now(), limit=5))
    bench.close()
