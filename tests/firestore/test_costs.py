"""What each operation costs: requests, and documents read, written and deleted, counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from session_continuity import (
    MessageQuery,
    Patch,
    SessionClosedError,
    SessionFilter,
    StorageAdapter,
    is_repeated_append,
)
from session_continuity_firestore.requests.client import Meter

from ..kit.conversations import new_session
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(mode=MODES)

LAST_20 = MessageQuery(order="desc", limit=20)


@pytest.fixture
def store(bench: Bench) -> StorageAdapter:
    return bench.open()


@pytest.mark.parametrize("count", [1, 3])
def test_an_append_is_one_commit_where_the_session_is_known(bench: Bench, store: StorageAdapter, count: int) -> None:
    session = bench.create(store)
    batch = [bench.says(session) for _ in range(count)]
    assert bench.spent(store, store.append_messages(session.id, batch)) == Meter(requests=1, writes=count + 1)


def test_an_append_reads_a_session_that_is_not_known(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    other = bench.open()
    message = bench.says(session)
    assert bench.spent(other, other.append_messages(session.id, [message])) == Meter(requests=2, reads=1, writes=2)


@pytest.mark.parametrize(("sliding_ttl", "slides"), [(60.0, True), (None, False)])
def test_an_append_tells_whether_the_session_slides(
    bench: Bench, store: StorageAdapter, sliding_ttl: float | None, slides: bool
) -> None:
    expires_at = bench.clock() + timedelta(hours=1)
    session = bench.create(store, expires_at=expires_at, sliding_ttl=sliding_ttl)
    for writer in (store, bench.open()):
        appended = bench.run(writer.append_messages(session.id, [bench.says(session)]))
        assert appended.slides is slides


def test_an_append_under_conditions_is_one_commit_too(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    [last] = bench.append(store, session, 1)
    call = store.append_messages(session.id, [bench.says(session)], expected_last_id=last.id, expected_version=1)
    assert bench.spent(store, call) == Meter(requests=1, writes=2)


def test_a_batch_that_is_moved_in_time_is_one_commit_and_looks_for_its_old_ids(
    bench: Bench, store: StorageAdapter
) -> None:
    session = bench.create(store)
    bench.append(store, session, 1)
    late = bench.says(session, created_at=bench.clock() - timedelta(seconds=1))
    assert bench.spent(store, store.append_messages(session.id, [late])) == Meter(requests=1, writes=2, deletes=1)


def test_an_append_that_is_repeated_is_recognised(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    message = bench.says(session)
    bench.run(store.append_messages(session.id, [message]))
    again = bench.run(store.append_messages(session.id, [message]))
    assert again.repeated
    assert is_repeated_append(again.messages, [message])
    spent = bench.spent(store, store.append_messages(session.id, [message]))
    assert (spent.requests, spent.reads) == (2, 2)


def test_a_refusal_that_is_remembered_is_read_again(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.run(store.update_session(session.id, Patch({"status": "completed"})))
    with pytest.raises(SessionClosedError):
        bench.run(store.append_messages(session.id, [bench.says(session)]))
    other = bench.open()
    bench.run(other.update_session(session.id, Patch({"status": "active"})))
    assert bench.run(store.append_messages(session.id, [bench.says(session)])).messages


def test_sessions(bench: Bench, store: StorageAdapter) -> None:
    create = store.create_session(new_session("new", now=bench.clock()))
    assert bench.spent(store, create) == Meter(requests=1, writes=1)
    assert bench.spent(store, store.get_session("new")) == Meter(requests=1, reads=1)
    assert bench.spent(store, store.update_session("new", Patch())) == Meter(requests=2, reads=1, writes=1)
    assert bench.spent(store, store.health()) == Meter(requests=1, reads=1)


def test_messages(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    stored = bench.append(store, session, 300)
    middle = stored[150].id
    two_at_once = Meter(requests=2, reads=21)
    assert bench.spent(store, store.get_messages(session.id, LAST_20)) == two_at_once
    assert bench.spent(store, store.get_conversation(session.id, LAST_20)) == two_at_once
    of_role = MessageQuery(order="desc", limit=20, roles=frozenset(["user"]))
    assert bench.spent(store, store.get_messages(session.id, of_role)) == two_at_once
    after = MessageQuery(limit=20, after_id=middle)
    assert bench.spent(store, store.get_messages(session.id, after)) == Meter(requests=3, reads=23)
    assert bench.spent(store, store.get_message(session.id, middle)) == Meter(requests=1, reads=2)
    edit = store.update_message(session.id, middle, Patch({"content": "new"}))
    assert bench.spent(store, edit) == Meter(requests=2, reads=2, writes=1)
    counted = store.update_message(session.id, middle, Patch({"token_count": 9}))
    assert bench.spent(store, counted) == Meter(requests=2, reads=2, writes=2)
    assert bench.spent(store, store.delete_message(session.id, middle)) == Meter(
        requests=2, reads=2, writes=1, deletes=1
    )
    tail = store.replace_tail(session.id, stored[-3].id, [bench.says(session)])
    assert bench.spent(store, tail) == Meter(requests=3, reads=4, writes=2, deletes=2)
    assert bench.spent(store, store.delete_all_messages(session.id)) == Meter(
        requests=3, reads=299, writes=1, deletes=298
    )


def test_a_fork_is_one_commit(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.append(store, session, 30)
    fork = new_session("fork", now=bench.clock(), forked_from={"session_id": session.id})
    spent = bench.spent(store, store.fork_session(session.id, fork))
    assert spent == Meter(requests=4, reads=33, writes=31)
    assert bench.spent(store, store.list_forks(session.id, limit=20)) == Meter(requests=2, reads=2)


def test_lists(bench: Bench, store: StorageAdapter) -> None:
    for _ in range(25):
        bench.create(store, user_id="ada", expires_at=bench.clock() + timedelta(hours=1))
    assert bench.spent(store, store.list_sessions(SessionFilter(user_id="ada"), limit=20)) == Meter(
        requests=1, reads=20
    )
    expired = store.get_expired_sessions(bench.clock() + timedelta(days=1), limit=20)
    assert bench.spent(store, expired) == Meter(requests=1, reads=20)


def test_a_delete_of_300_messages_is_one_commit(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.append(store, session, 300)
    assert bench.spent(store, store.delete_session(session.id)) == Meter(requests=3, reads=301, deletes=301)


@pytest.mark.on(mode=["blocking"])
def test_a_delete_of_1200_messages_is_nine_requests(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.append(store, session, 1200)
    spent = bench.spent(store, store.delete_session(session.id))
    assert (spent.requests, spent.deletes) == (9, 1201)
    assert bench.left_of(session.id) == 0
