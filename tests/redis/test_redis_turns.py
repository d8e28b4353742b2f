"""Appends with terms, replaced tails, forks and conditional deletes: their round trips, and replies that are lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from session_continuity import (
    ConcurrencyError,
    Mode,
    Patch,
    SessionFilter,
    UnavailableError,
    utc_now,
)

from ..kit.conversations import new_session
from ..kit.modes import MODES
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import EVERY_ENGINE, Server
from .stores import Bench, fork_of

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


@pytest.fixture
def warm(bench: Bench) -> Bench:
    """A store whose server has the scripts."""
    bench.create("warm", user_id="u")
    first = bench.message("one", session_id="warm")
    bench(bench.store.append_messages("warm", [first], patch=Patch(set={"user_id": "v"})))
    bench(bench.store.delete_session("warm", expected_version=2))
    return bench


def test_an_append_with_a_change_under_conditions_takes_one_round_trip(warm: Bench) -> None:
    warm.create(user_id="ada")
    (last,) = warm.append("one").messages
    before = warm.driver.round_trips
    appended = warm(
        warm.store.append_messages(
            "s",
            [warm.message("two")],
            patch=Patch(set={"user_id": "bob"}),
            expected_version=1,
            expected_last_id=last.id,
        )
    )
    assert warm.driver.round_trips - before == 1
    assert not appended.repeated
    assert warm.contents() == ["one", "two"]
    assert [each.version for each in warm(warm.store.list_sessions(SessionFilter(user_id="bob"), limit=5))] == [2]


def test_the_first_turn_creates_the_session_in_one_round_trip(warm: Bench) -> None:
    session = new_session("s", now=utc_now(), user_id="ada")
    before = warm.driver.round_trips
    appended = warm(warm.store.append_messages("s", [warm.message("one")], create=session))
    assert warm.driver.round_trips - before == 1
    assert appended.created
    assert [each.id for each in warm(warm.store.list_sessions(SessionFilter(user_id="ada"), limit=5))] == ["s"]


def test_a_batch_of_which_a_part_is_stored_takes_one_round_trip_more(warm: Bench) -> None:
    warm.create()
    # "two" is the newest: a message older than the last one would be moved, by another round trip.
    one, three, two = (warm.message(text) for text in ("one", "three", "two"))
    ids = [one.id, two.id, three.id]
    warm(warm.store.append_messages("s", [one, three], client_ids=ids))
    before = warm.driver.round_trips
    appended = warm(warm.store.append_messages("s", [one, two, three], client_ids=ids, existing="skip"))
    assert warm.driver.round_trips - before == 2
    assert [message.content for message in appended.messages] == ["one", "two", "three"]
    assert warm.contents() == ["one", "three", "two"]


def test_a_conditional_delete_takes_one_round_trip(warm: Bench) -> None:
    warm.create()
    before = warm.driver.round_trips
    with pytest.raises(ConcurrencyError):
        warm(warm.store.delete_session("s", expected_version=7))
    assert warm(warm.store.delete_session("s", expected_version=1))
    assert warm.driver.round_trips - before == 2


def test_a_turn_whose_reply_was_lost_is_stored_once_and_changes_once(
    warm: Bench, proxy: RedisProxy, namespace: str
) -> None:
    through = Bench(f"{proxy.url}?namespace={namespace}", warm.mode)
    through.create(user_id="ada")

    def somebody() -> None:
        other = Bench(f"redis://127.0.0.1:{proxy._target[1]}?namespace={namespace}", "blocking")
        other(other.store.update_session("s", Patch(set={"user_id": "theirs"})))
        other.close()

    proxy.swallow_next_reply(somebody)
    turn = through.store.append_messages("s", [through.message("one")], patch=Patch(set={"user_id": "bob"}))
    assert through(turn).repeated
    found = through(through.store.get_session("s"))
    assert found is not None
    assert (found.version, found.user_id, through.contents()) == (3, "theirs", ["one"])
    through.close()


def test_a_tail_is_replaced_in_one_round_trip(warm: Bench) -> None:
    warm.create()
    stored = warm.append(*map(str, range(21))).messages
    new = warm.message("new")
    warm(warm.store.replace_tail("s", stored[20].id))  # the server has the script from here on
    before = warm.driver.round_trips
    replaced = warm(
        warm.store.replace_tail("s", stored[0].id, [new], expected_last_id=stored[20].id, return_removed=True)
    )
    assert warm.driver.round_trips - before == 1
    assert [message.content for message in replaced.removed] == [str(number) for number in range(1, 21)]
    assert warm.contents() == ["0", "new"]
    assert warm.totals() == (2, 2)


def test_a_replaced_tail_whose_reply_was_lost_is_replaced_once(warm: Bench, proxy: RedisProxy, namespace: str) -> None:
    through = Bench(f"{proxy.url}?namespace={namespace}", warm.mode)
    through.create()
    stored = through.append("one", "two", "three").messages
    through(through.store.replace_tail("s", stored[2].id))
    proxy.swallow_next_reply(lambda: _append_theirs(proxy, namespace))
    replaced = through(through.store.replace_tail("s", stored[0].id, [through.message("new")]))
    assert (replaced.removed_count, replaced.repeated) == (2, True)
    assert through.contents() == ["one", "new", "theirs"]
    proxy.swallow_next_reply()
    with pytest.raises(UnavailableError, match="removed messages"):
        through(through.store.replace_tail("s", None, return_removed=True))
    assert through.contents() == []
    through.close()


def _append_theirs(proxy: RedisProxy, namespace: str) -> None:
    other = Bench(f"redis://127.0.0.1:{proxy._target[1]}?namespace={namespace}", "blocking")
    other.append("theirs")
    other.close()


def test_readers_see_the_old_tail_or_the_new_one(server: Server, namespace: str) -> None:
    url = f"{server.url}?namespace={namespace}"
    writer, reader = Bench(url, "blocking"), Bench(url, "blocking")
    writer.create()
    first = writer.append("first").messages[0]
    ends = threading.Event()

    def write() -> None:
        for number in range(100):
            batch = [writer.message(f"{number}"), writer.message(f"{number}")]
            writer(writer.store.replace_tail("s", first.id, batch))
        ends.set()

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(write)
        while not ends.is_set():
            _, *tail = reader.contents()
            assert len(tail) in (0, 2)
            assert len(set(tail)) <= 1
        written.result()
    writer.close()
    reader.close()


def test_a_fork_takes_one_round_trip_and_its_list_one(warm: Bench) -> None:
    warm.create()
    stored = warm.append(*map(str, range(1000))).messages
    warm(warm.store.fork_session("s", fork_of("s", "first")))
    before = warm.driver.round_trips
    fork = warm(warm.store.fork_session("s", fork_of("s", "fork", stored[599].id), through_id=stored[599].id))
    assert warm.driver.round_trips - before == 1
    assert fork.message_count == 600
    assert warm.contents("fork") == [str(number) for number in range(600)]
    found = warm(warm.store.get_message("fork", stored[7].id))
    assert found == stored[7].model_copy(update={"session_id": "fork"})
    warm(warm.store.list_forks("s", limit=5))
    before = warm.driver.round_trips
    assert [each.session_id for each in warm(warm.store.list_forks("s", limit=5))] == ["first", "fork"]
    assert warm.driver.round_trips - before == 1


def test_forks_are_listed_where_the_index_has_several_parts(server: Server, namespace: str, mode: Mode) -> None:
    bench = Bench(f"{server.url}?namespace={namespace}&index_parts=3", mode)
    bench.create()
    names = [f"fork{number}" for number in range(7)]
    for name in names:
        bench(bench.store.fork_session("s", fork_of("s", name)))
    page = bench(bench.store.list_forks("s", limit=4))
    rest = bench(bench.store.list_forks("s", limit=9, cursor=page.next_cursor))
    assert ([each.session_id for each in (*page, *rest)], rest.next_cursor) == (names, None)
    bench.close()


def test_a_fork_whose_reply_was_lost_is_the_same_fork(warm: Bench, proxy: RedisProxy, namespace: str) -> None:
    through = Bench(f"{proxy.url}?namespace={namespace}", warm.mode)
    through.create()
    through.append("one")
    through(through.store.fork_session("s", fork_of("s", "first")))
    proxy.swallow_next_reply(lambda: _append_theirs(proxy, namespace))
    assert through(through.store.fork_session("s", fork_of("s", "fork"))).message_count == 1
    assert through.contents("fork") == ["one"]
    assert through.contents("s") == ["one", "theirs"]
    through.close()


def test_a_fork_stays_in_the_list_of_its_source_after_its_entries_were_repaired(warm: Bench) -> None:
    warm.create()
    warm(warm.store.fork_session("s", fork_of("s", "fork")))
    warm(warm.store.update_session("fork", Patch(set={"user_id": "bob"})))
    found = warm(warm.driver._index.read(["fork"], ""))
    generation = found.generations["fork"]
    warm(warm.driver._index.put(found.sessions["fork"], generation + 1))
    assert [each.session_id for each in warm(warm.store.list_forks("s", limit=5))] == ["fork"]
    warm(warm.store.delete_session("fork"))
    assert list(warm(warm.store.list_forks("s", limit=5))) == []
