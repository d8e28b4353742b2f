"""Fixed and sliding expiry, and the removal of what has expired."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    ConcurrencyError,
    ErrorOccurred,
    Event,
    Patch,
    SessionExpired,
    SessionManager,
    SessionNotFoundError,
    UnavailableError,
)

from ..kit.clocks import START, Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)

HOUR = timedelta(hours=1)


def hello(manager: SessionManager, session_id: str) -> None:
    manager.add_message(session_id, role="user", content="x")


def unavailable(*_: Any, **__: Any) -> Awaitable[None]:
    async def fail() -> None:
        raise UnavailableError("down", backend="test", operation="test")

    return fail()


# Fixed


def test_a_session_is_gone_at_its_expiry_for_every_call(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store, ttl=HOUR)
    session = manager.create_session()
    clock.advance(minutes=59)
    hello(manager, session.id)
    assert manager.get_session(session.id).expires_at == START + HOUR
    clock.advance(minutes=1)
    for call in (
        lambda: manager.get_session(session.id),
        lambda: hello(manager, session.id),
        lambda: manager.get_messages(session.id),
        lambda: manager.update_session(session.id, user_id="u"),
        lambda: manager.get_conversation_context(session.id),
    ):
        with pytest.raises(SessionNotFoundError):
            call()
    assert len(manager.list_sessions()) == 0


def test_fixed_expiry_is_never_written_again(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    manager = variant.manager(store, ttl=HOUR)
    session = manager.create_session()
    for _ in range(5):
        clock.advance(minutes=10)
        hello(manager, session.id)
    assert store.calls.count("update_session") == 0


# Sliding


@pytest.fixture
def sliding(variant: Variant, store: RecordingAdapter) -> SessionManager:
    return variant.manager(store, ttl=HOUR, expiry="sliding")


def test_a_session_that_is_used_stays_and_is_stamped_rarely(
    sliding: SessionManager, store: RecordingAdapter, clock: Clock
) -> None:
    session = sliding.create_session()
    assert session.sliding_ttl == 3600
    for _ in range(600):
        clock.advance(seconds=30)
        hello(sliding, session.id)
    expires_at = sliding.get_session(session.id).expires_at
    assert expires_at is not None
    assert clock.now + 0.9 * HOUR <= expires_at <= clock.now + HOUR
    stamps = store.calls.count("update_session")
    assert 5 * 9 <= stamps <= 5 * 10
    assert store.calls.count("get_session") == stamps + 1


def test_a_session_that_is_not_used_expires(sliding: SessionManager, clock: Clock) -> None:
    session = sliding.create_session()
    clock.advance(minutes=30)
    hello(sliding, session.id)
    clock.advance(minutes=61)
    with pytest.raises(SessionNotFoundError):
        sliding.get_session(session.id)


def test_a_session_may_have_its_own_time_to_live(sliding: SessionManager, clock: Clock) -> None:
    session = sliding.create_session(ttl=timedelta(minutes=10))
    clock.advance(minutes=9)
    hello(sliding, session.id)
    assert sliding.get_session(session.id).expires_at == clock.now + timedelta(minutes=10)


def test_sliding_goes_on_after_a_restart_of_the_manager(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    session = variant.manager(store, ttl=HOUR, expiry="sliding").create_session(ttl=timedelta(minutes=20))
    clock.advance(minutes=10)
    restarted = variant.manager(store, ttl=HOUR, expiry="sliding")
    calls = store.calls_during(lambda: hello(restarted, session.id))
    assert calls == ["setup", "append_messages", "get_session", "update_session"]
    assert restarted.get_session(session.id).expires_at == clock.now + timedelta(minutes=20)
    assert store.calls_during(lambda: hello(restarted, session.id)) == ["append_messages"]


def test_what_others_extended_is_never_cut_short(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    session = manager.create_session()
    later = START + timedelta(days=30)
    variant.manager(store).update_session(session.id, expires_at=later)
    clock.advance(minutes=30)
    assert store.calls_during(lambda: hello(manager, session.id)) == ["append_messages", "get_session"]
    assert store.calls_during(lambda: hello(manager, session.id)) == ["append_messages"]
    assert manager.get_session(session.id).expires_at == later


def test_a_later_expiry_written_at_the_same_moment_is_kept(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    session = manager.create_session()
    later = START + timedelta(days=30)

    async def extended(session_id: str, patch: Patch, **_: Any) -> None:
        del patch, store.before["update_session"]
        await store.inner.update_session(session_id, Patch(set={"expires_at": later}))

    store.before["update_session"] = extended
    clock.advance(minutes=30)
    hello(manager, session.id)
    assert manager.get_session(session.id).expires_at == later


def test_a_session_created_anew_without_expiry_gets_none(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    manager.create_session(id="s")
    other = variant.manager(store)
    other.delete_session("s")
    other.create_session(id="s")
    clock.advance(minutes=30)
    hello(manager, "s")
    assert manager.get_session("s").expires_at is None


def test_sessions_of_managers_without_sliding_are_left_alone(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    fixed = variant.manager(store, ttl=HOUR).create_session()
    endless = variant.manager(store).create_session()
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    clock.advance(minutes=50)
    for session in (fixed, endless):
        hello(manager, session.id)
        assert manager.get_session(session.id).expires_at == session.expires_at


def test_a_session_slides_also_in_a_manager_that_has_no_ttl(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    session = variant.manager(store, ttl=HOUR, expiry="sliding").create_session()
    other = variant.manager(store)
    for _ in range(4):
        clock.advance(minutes=40)
        other.get_conversation_context(session.id)
        hello(other, session.id)
    assert other.get_session(session.id).expires_at == clock.now + timedelta(hours=1)


def test_a_session_slides_in_a_manager_without_a_ttl_that_only_appends(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    """The store tells that the session slides, so the manager reads such a session once, and no other."""
    session = variant.manager(store, ttl=HOUR, expiry="sliding").create_session()
    fixed = variant.manager(store, ttl=9 * HOUR).create_session()
    other = variant.manager(store)
    hello(other, fixed.id)
    assert store.calls_during(lambda: hello(other, session.id)) == ["append_messages", "get_session"]
    for _ in range(4):
        clock.advance(minutes=40)
        calls = store.calls_during(lambda: hello(other, session.id))
        assert calls == ["append_messages", "get_session", "update_session"]
        assert store.calls_during(lambda: hello(other, fixed.id)) == ["append_messages"]
    assert other.get_session(session.id).expires_at == clock.now + HOUR


def test_a_session_that_begins_to_slide_later_slides_in_managers_that_know_it(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    session = variant.manager(store, ttl=HOUR).create_session()
    other = variant.manager(store)
    other.get_session(session.id)
    hello(other, session.id)
    variant.manager(store).update_session(session.id, sliding_ttl=3600.0)
    clock.advance(minutes=40)
    hello(other, session.id)
    assert other.get_session(session.id).expires_at == clock.now + HOUR


def test_many_that_append_at_once_stamp_as_one(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    session = manager.create_session()
    errors: list[ErrorOccurred] = []
    manager.on("error", errors.append)
    clock.advance(minutes=30)
    variant.run_together(manager, [lambda m: m.add_message(session.id, role="user", content="x")] * 8)
    after = manager.get_session(session.id)
    assert (after.message_count, after.expires_at, after.version, errors) == (8, clock.now + HOUR, 2, [])


@pytest.mark.parametrize("failing", ["get_session", "update_session"])
def test_an_error_after_an_acknowledged_append_is_an_event_and_the_next_append_tries_again(
    sliding: SessionManager, store: RecordingAdapter, clock: Clock, failing: str
) -> None:
    session = sliding.create_session()
    errors: list[ErrorOccurred] = []
    sliding.on("error", errors.append)
    clock.advance(minutes=30)
    store.before[failing] = unavailable
    hello(sliding, session.id)
    assert [(e.source, e.session_id, type(e.error)) for e in errors] == [
        ("sliding expiry", session.id, UnavailableError)
    ]
    del store.before[failing]
    hello(sliding, session.id)
    after = sliding.get_session(session.id)
    assert (after.message_count, after.expires_at, len(errors)) == (2, clock.now + HOUR, 1)


def test_a_session_deleted_right_after_the_append_is_an_event(
    sliding: SessionManager, store: RecordingAdapter, clock: Clock
) -> None:
    session = sliding.create_session()
    errors: list[ErrorOccurred] = []
    sliding.on("error", errors.append)
    clock.advance(minutes=30)

    async def gone(session_id: str, *_: Any, **__: Any) -> None:
        await store.inner.delete_session(session_id)

    store.after["append_messages"] = gone
    hello(sliding, session.id)
    assert [type(error.error) for error in errors] == [SessionNotFoundError]


def test_what_is_remembered_is_bounded_and_forgotten_with_the_session(
    variant: Variant, store: RecordingAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity.runtime.cache.BoundedCache.max_size", 2)
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    first, second, third = (manager.create_session() for _ in range(3))
    assert store.calls_during(lambda: hello(manager, third.id)) == ["append_messages"]
    assert store.calls_during(lambda: hello(manager, second.id)) == ["append_messages"]
    assert store.calls_during(lambda: hello(manager, first.id)) == ["append_messages", "get_session"]
    manager.delete_session(first.id)
    variant.manager(store, ttl=HOUR, expiry="sliding").create_session(id=first.id)
    assert store.calls_during(lambda: hello(manager, first.id)) == ["append_messages", "get_session"]


def test_a_context_tells_what_the_next_append_needs_to_know(variant: Variant, store: RecordingAdapter) -> None:
    session = variant.manager(store, ttl=HOUR, expiry="sliding").create_session()
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    assert store.calls_during(lambda: manager.get_conversation_context(session.id)) == ["setup", "get_conversation"]
    assert store.calls_during(lambda: hello(manager, session.id)) == ["append_messages"]


# Cleanup


def test_a_cleanup_removes_what_has_expired_and_tells_it(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store)
    expiring = [manager.create_session(ttl=60).id for _ in range(3)]
    staying = [manager.create_session(ttl=3600).id, manager.create_session().id]
    told: list[Event] = []
    manager.on("session:expired", told.append)
    assert manager.cleanup_expired_sessions() == 0
    clock.advance(seconds=60)
    assert manager.cleanup_expired_sessions() == 3
    assert sorted(event.session_id for event in told) == sorted(expiring)
    assert manager.cleanup_expired_sessions() == 0
    assert {session.id for session in manager.list_sessions()} == set(staying)


def test_a_cleanup_reads_page_after_page(variant: Variant, store: RecordingAdapter, clock: Clock) -> None:
    manager = variant.manager(store)
    for _ in range(150):
        manager.create_session(ttl=1)
    clock.advance(seconds=1)
    calls = store.calls_during(lambda: manager.cleanup_expired_sessions())
    assert (calls.count("delete_session"), calls.count("get_expired_sessions")) == (150, 2)


@pytest.mark.parametrize("rescue", ["extended", "created anew"])
def test_a_session_rescued_since_it_was_listed_is_not_removed(
    variant: Variant, store: RecordingAdapter, clock: Clock, rescue: str
) -> None:
    manager = variant.manager(store)
    session = manager.create_session(id="s", ttl=60)
    told: list[Event] = []
    manager.on(SessionExpired, told.append)

    async def rescued(session_id: str, **_: Any) -> None:
        del store.before["delete_session"]
        store.clock = clock
        clock.advance(seconds=-30)
        if rescue == "extended":
            await store.inner.update_session(session_id, Patch(set={"expires_at": START + HOUR}))
        else:
            await store.inner.delete_session(session_id)
            await store.inner.create_session(session.model_copy(update={"expires_at": None}))
        clock.advance(seconds=30)

    clock.advance(seconds=60)
    store.before["delete_session"] = rescued
    assert manager.cleanup_expired_sessions() == 0
    assert (manager.get_session("s").id, told) == ("s", [])


def test_one_delete_that_fails_does_not_stop_the_rest_and_is_raised_at_the_end(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store)
    for number in range(4):
        manager.create_session(id=f"s{number}", ttl=60)
    clock.advance(seconds=60)

    async def broken(session_id: str, **_: Any) -> None:
        if session_id in ("s1", "s2"):
            raise UnavailableError(session_id, backend="test", operation="delete_session")

    store.before["delete_session"] = broken
    told: list[Event] = []
    manager.on(SessionExpired, told.append)
    with pytest.raises(UnavailableError, match="s1"):
        manager.cleanup_expired_sessions()
    assert [event.session_id for event in told] == ["s0", "s3"]
    del store.before["delete_session"]
    assert manager.cleanup_expired_sessions() == 2


def test_a_cleaned_session_is_forgotten_by_sliding_expiry(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    manager = variant.manager(store, ttl=HOUR, expiry="sliding")
    manager.create_session(id="s")
    clock.advance(hours=1)
    assert manager.cleanup_expired_sessions() == 1
    variant.manager(store, ttl=HOUR, expiry="sliding").create_session(id="s")
    assert store.calls_during(lambda: hello(manager, "s")) == ["append_messages", "get_session"]


# In the background


class Signal:
    """Set by a call of the store; waits for it whatever thread or loop it comes from."""

    def __init__(self) -> None:
        self._happened = threading.Event()

    async def __call__(self, *_: Any, **__: Any) -> None:
        self._happened.set()

    def wait(self, variant: Variant) -> None:
        """Until it happened; an async variant runs its loop meanwhile."""
        if variant.is_async:
            variant.run(lambda: asyncio.to_thread(self._happened.wait, 20))
        assert self._happened.wait(20)


def test_the_background_cleanup_removes_what_has_expired(
    variant: Variant, store: RecordingAdapter, clock: Clock
) -> None:
    removed = Signal()
    store.after["delete_session"] = removed
    manager = variant.manager(store, cleanup_interval=0.005)
    session = manager.create_session(ttl=60)
    clock.advance(seconds=60)
    removed.wait(variant)
    manager.close()
    assert variant.manager(store).cleanup_expired_sessions() == 0
    with pytest.raises(SessionNotFoundError):
        manager.get_session(session.id)


@pytest.mark.parametrize("error", [UnavailableError("down", backend="test", operation="test"), RuntimeError("raw")])
def test_a_background_cleanup_that_fails_is_told_and_goes_on(
    variant: Variant, store: RecordingAdapter, error: Exception
) -> None:
    again = Signal()
    errors: list[ErrorOccurred] = []

    async def broken(*_: Any, **__: Any) -> None:
        if len(errors) == 2:
            await again()
            return
        raise error

    store.before["get_expired_sessions"] = broken
    manager = variant.manager(store, cleanup_interval=timedelta(milliseconds=5))
    manager.on("error", errors.append)
    manager.create_session()
    again.wait(variant)
    manager.close()
    assert [event.source for event in errors] == ["cleanup", "cleanup"]
    assert all(error in (event.error, event.error.__cause__) for event in errors)


def test_closing_stops_the_background_cleanup(variant: Variant, store: RecordingAdapter) -> None:
    began = Signal()
    store.before["get_expired_sessions"] = began
    manager = variant.manager(store, cleanup_interval=0.001)
    manager.create_session()
    began.wait(variant)
    assert variant.background_work() == 1
    manager.close()
    assert variant.background_work() == 0
    manager.close()


def test_without_an_interval_nothing_runs_in_the_background(variant: Variant, store: RecordingAdapter) -> None:
    variant.manager(store).create_session()
    assert variant.background_work() == 0


def test_the_background_cleanup_starts_once_however_many_call_first(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, cleanup_interval=3600)
    variant.run_together(manager, [lambda m: m.create_session()] * 8)
    assert variant.background_work() == 1
    manager.close()
    assert variant.background_work() == 0


def test_a_manager_that_is_entered_again_cleans_up_again(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, cleanup_interval=3600)
    for _ in range(2):
        with manager:
            assert variant.background_work() == 1
        assert variant.background_work() == 0


def test_a_manager_that_was_closed_starts_no_cleanup(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, cleanup_interval=3600)
    manager.close()
    manager.create_session()
    assert variant.background_work() == 0


def test_a_conflict_that_never_ends_becomes_an_event(
    sliding: SessionManager, store: RecordingAdapter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("session_continuity.contract.changes.DEADLINE", 0.0)
    session = sliding.create_session()
    errors: list[ErrorOccurred] = []
    sliding.on("error", errors.append)

    async def conflict(session_id: str, *_: Any, **__: Any) -> None:
        raise ConcurrencyError(session_id, expected=1, actual=2)

    store.before["update_session"] = conflict
    clock.advance(minutes=30)
    hello(sliding, session.id)
    assert [type(error.error) for error in errors] == [ConcurrencyError]
