"""Listings of a manager: their order, where they start, what they filter, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_continuity import (
    ForwardingAdapter,
    NotSupportedError,
    Page,
    Session,
    SessionFilter,
    SessionManager,
    SessionNotFoundError,
)

from ..kit.clocks import Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


class Lagging(ForwardingAdapter):
    """A store whose listings have the totals of the creation, and only the order by creation."""

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        return page.map(
            lambda session: session.model_copy(update={"message_count": 0, "last_activity_at": session.created_at})
        )


def let_listings_lag(store: RecordingAdapter) -> None:
    store.inner = Lagging(store.inner)
    store.capabilities = replace(
        store.capabilities, activity_listing=False, ascending_listing=False, listing_totals=False
    )


def ids(page: Page[Session]) -> list[str]:
    return [session.id for session in page]


def three_sessions(manager: SessionManager, clock: Clock) -> None:
    """Sessions a, b and c of ada, created in this order, active in the order c, a, b; and one of bob."""
    for name in "abc":
        clock.advance(seconds=1)
        manager.create_session(id=name, user_id="ada", metadata={"title": f"Title {name.upper()}"})
    manager.create_session(id="bobs", user_id="bob")
    for name in "cab":
        clock.advance(seconds=1)
        manager.add_message(name, "user", "hello")


def test_each_order(manager: SessionManager, clock: Clock) -> None:
    three_sessions(manager, clock)
    assert ids(manager.list_sessions(user_id="ada")) == ["c", "b", "a"]
    assert ids(manager.list_sessions(user_id="ada", order="oldest")) == ["a", "b", "c"]
    assert ids(manager.list_sessions(user_id="ada", order="recent")) == ["b", "a", "c"]
    assert ids(manager.list_sessions(user_id="ada", order="idle")) == ["c", "a", "b"]
    assert [each.id for each in manager.iter_sessions(user_id="ada", order="idle")] == ["c", "a", "b"]
    assert not manager.list_sessions(user_id="ada", order="recent").stale_totals


def test_a_listing_starts_behind_a_session_in_any_order(manager: SessionManager, clock: Clock) -> None:
    three_sessions(manager, clock)
    assert ids(manager.list_sessions(user_id="ada", after_id="b")) == ["a"]
    assert ids(manager.list_sessions(user_id="ada", order="recent", after_id="b")) == ["a", "c"]
    page = manager.list_sessions(user_id="ada", order="recent", after_id="b", limit=1)
    manager.add_message("b", "user", "the place moved")
    rest = manager.list_sessions(user_id="ada", order="recent", cursor=page.next_cursor)
    assert (ids(page), ids(rest)) == (["a"], ["c"])
    assert [each.id for each in manager.iter_sessions(user_id="ada", after_id="c", limit=1)] == ["b"]
    with pytest.raises(SessionNotFoundError):
        manager.list_sessions(user_id="ada", after_id="gone")


def test_a_title_filters_whatever_its_case(manager: SessionManager, clock: Clock) -> None:
    three_sessions(manager, clock)
    assert ids(manager.list_sessions(user_id="ada", title="title")) == ["c", "b", "a"]
    assert ids(manager.list_sessions(user_id="ada", title="e b")) == ["b"]
    assert ids(manager.list_sessions(user_id="bob", title="title")) == []


def test_recent_sessions_are_one_request_where_the_store_lists_by_activity(
    manager: SessionManager, store: RecordingAdapter, clock: Clock
) -> None:
    three_sessions(manager, clock)
    assert store.calls_during(lambda: manager.recent_sessions("ada", limit=2)) == ["list_sessions"]
    page = manager.recent_sessions("ada", limit=2)
    assert ([(each.id, each.message_count) for each in page], page.next_cursor) == ([("b", 1), ("a", 1)], None)


def test_recent_sessions_read_every_session_elsewhere(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    let_listings_lag(store)
    manager = variant.manager(store)
    three_sessions(manager, clock)
    calls = store.calls_during(lambda: manager.recent_sessions("ada", limit=2))
    assert calls == ["list_sessions", "get_session", "get_session", "get_session"]
    page = manager.recent_sessions("ada", limit=2)
    assert [(each.id, each.message_count) for each in page] == [("b", 1), ("a", 1)]
    assert (page.next_cursor, page.stale_totals) == (None, False)
    assert not manager.recent_sessions("nobody")


def test_recent_sessions_need_no_further_reads_where_listings_have_totals(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    store.capabilities = replace(store.capabilities, activity_listing=False)
    manager = variant.manager(store)
    three_sessions(manager, clock)
    assert store.calls_during(lambda: manager.recent_sessions("ada")) == ["list_sessions"]
    assert ids(manager.recent_sessions("ada", limit=2)) == ["b", "a"]


def test_a_session_that_goes_while_recent_ones_are_read_is_left_out(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    let_listings_lag(store)
    manager = variant.manager(store)
    three_sessions(manager, clock)

    async def delete_b(*_: object, **__: object) -> None:
        store.after.clear()
        await store.inner.delete_session("b")

    store.after["list_sessions"] = delete_b
    assert ids(manager.recent_sessions("ada")) == ["a", "c"]


def test_a_listing_says_that_its_totals_may_be_old(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    let_listings_lag(store)
    manager = variant.manager(store)
    three_sessions(manager, clock)
    assert manager.list_sessions(user_id="ada").stale_totals
    assert manager.list_sessions(user_id="ada", limit=1).stale_totals


@pytest.mark.parametrize("order", ["oldest", "recent", "idle"])
def test_an_order_that_is_not_declared_is_refused_before_the_store_is_asked(
    variant: Variant, store: RecordingAdapter, clock: Clock, order: str
) -> None:
    let_listings_lag(store)
    manager = variant.manager(store)
    three_sessions(manager, clock)

    def refuse() -> None:
        with pytest.raises(NotSupportedError, match=f"a listing in the order {order}"):
            manager.list_sessions(user_id="ada", order=order)  # type: ignore[arg-type]

    assert store.calls_during(refuse) == []


def test_a_manager_for_one_user_lists_and_starts_behind_that_users_sessions_only(
    manager: SessionManager, clock: Clock
) -> None:
    three_sessions(manager, clock)
    bobs = manager.for_user("bob")
    assert ids(bobs.recent_sessions("bob")) == ["bobs"]
    assert ids(bobs.recent_sessions("ada")) == []
    assert ids(bobs.list_sessions(order="recent", title="Title")) == []
    with pytest.raises(SessionNotFoundError):
        bobs.list_sessions(after_id="a")
