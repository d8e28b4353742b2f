"""What listings, deletes and clean-up cost: requests counted, capacity units summed as the engine states them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from session_continuity import AsyncSessionManager, SessionFilter, SessionManager, SessionMetadata, run_now

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.modes import MODES
from .bench import TABLE, Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


@pytest.mark.on(mode=["blocking"])
@pytest.mark.parametrize(("listing", "requests"), [("index", 1), ("exact", 2)])
def test_listing_100_sessions_of_a_user(bench: Bench, listing: str, requests: int) -> None:
    store = bench.open(listing=listing)
    for number in range(100):
        bench.create(store, user_id="u", metadata=SessionMetadata(title=str(number)))
        bench.clock.advance(seconds=1)
    with bench.meter.counting() as made:
        page = run_now(store.list_sessions(SessionFilter(user_id="u"), limit=100))
    assert [session.metadata.title for session in page] == [str(number) for number in reversed(range(100))]
    assert page.next_cursor is None
    assert len(made) == requests


@pytest.mark.parametrize(("listing", "requests"), [("index", 1 + 100), ("exact", 2)])
def test_recent_sessions_read_each_session_of_the_user_for_its_totals(
    bench: Bench, listing: str, requests: int
) -> None:
    """A user's 100 sessions are listed, then their totals are read, strongly: one by one, or all in one request."""
    store = bench.open(listing=listing)
    sessions = []
    for _ in range(100):
        sessions.append(bench.create(store, user_id="u"))
        bench.clock.advance(seconds=1)
    bench.create(store, user_id="other")
    bench.run(store.append_messages(sessions[7].id, [bench.message(sessions[7])]))
    with bench.meter.counting() as made:
        if bench.mode == "async":
            recent = bench.run(AsyncSessionManager(store, setup=False).recent_sessions("u", limit=2))
        else:
            recent = SessionManager(store, setup=False).recent_sessions("u", limit=2)
    assert [(each.id, each.message_count) for each in recent] == [(sessions[7].id, 1), (sessions[99].id, 0)]
    assert len(made) == requests
    assert sum(request.units for request in made[1:]) == (200 if listing == "index" else 100)


@pytest.mark.on(mode=["blocking"])
def test_delete_is_pages_and_batches_of_25(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    for _ in range(12):
        run_now(store.append_messages(session.id, [bench.message(session) for _ in range(9)]))
    with bench.meter.counting() as made:
        assert run_now(store.delete_session(session.id))
    batches = [request for request in made if request.api == "BatchWriteItem"]
    assert sorted(len(request.params["RequestItems"][TABLE]) for request in batches) == [8, 25, 25, 25, 25]
    assert sorted(apis(made)) == sorted(
        ["BatchGetItem", *["TransactWriteItems"] * 2, *["Query"] * 2, "GetItem", *["BatchWriteItem"] * 5]
    )


def test_expired_sessions_are_found_through_the_index(bench: Bench) -> None:
    store = bench.open()
    for _ in range(5):
        bench.create(store, expires_at=bench.clock() + timedelta(hours=1))
    bench.clock.advance(hours=3)
    with bench.meter.counting() as made:
        page = bench.run(store.get_expired_sessions(bench.clock(), limit=10))
    assert len(page) == 5
    assert set(apis(made)) == {"Query", "BatchGetItem"}
    assert len(made) == 5
