"""Sessions through the manager: what is stored is what was given, changes change what they name and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    CompressionConfig,
    ConcurrencyError,
    Event,
    NotSupportedError,
    Page,
    Session,
    SessionClosedError,
    SessionCreated,
    SessionExistsError,
    SessionManager,
    SessionMetadata,
    SessionNotFoundError,
    TokenBudget,
    ValidationError,
)

from ..kit.clocks import START, Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


def test_a_session_is_stored_as_it_was_given(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, summarizer=lambda *_, **__: "summary")
    created = manager.create_session(
        id="a/b#c:d é 🙂",
        user_id="user 1",
        active_agent_id="agent",
        metadata={"title": "Größe", "tags": ["vip", ""], "custom": {"n": [1, None, 2.5, {"x": ""}]}, "own": True},
        participants=["p", {"id": "q", "role": "observer", "metadata": {"k": None}}],
        token_budget={"max_tokens": 100, "reserve_tokens": 10, "overflow_strategy": "error"},
        compression={"strategy": "hybrid", "max_messages": 3, "mine": [1]},
        ttl=90,
    )
    assert created == manager.get_session("a/b#c:d é 🙂")
    assert (created.created_at, created.last_activity_at) == (START, START)
    assert created.expires_at == START + timedelta(seconds=90)
    assert (created.status, created.version, created.message_count, created.token_count) == ("active", 1, 0, 0)
    assert created.metadata == SessionMetadata.model_validate(
        {"title": "Größe", "tags": ["vip", ""], "custom": {"n": [1, None, 2.5, {"x": ""}]}, "own": True}
    )
    assert [(p.id, p.role, p.joined_at, p.left_at) for p in created.participants] == [
        ("p", "user", START, None),
        ("q", "observer", START, None),
    ]
    assert created.token_budget == TokenBudget(max_tokens=100, reserve_tokens=10, overflow_strategy="error")
    assert created.compression == CompressionConfig.model_validate(
        {"strategy": "hybrid", "max_messages": 3, "mine": [1]}
    )
    assert created.sliding_ttl is None


def test_a_session_without_anything_has_an_id_of_its_own(manager: SessionManager) -> None:
    first, second = manager.create_session(), manager.create_session()
    assert first.id != second.id
    assert len(first.id) == 36
    token = first.creation_token
    assert first == Session(id=first.id, created_at=START, last_activity_at=START, creation_token=token)
    assert token
    assert token != second.creation_token


def test_the_defaults_of_the_manager_go_with_the_session_and_its_own_come_first(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(
        store,
        token_budget={"max_tokens": 50},
        compression={"strategy": "hybrid"},
        summarizer=lambda *_, **__: "summary",
        ttl=timedelta(minutes=1),
    )
    plain = manager.create_session()
    own = manager.create_session(token_budget={"max_tokens": 7}, compression={"strategy": "sliding_window"}, ttl=5.5)
    assert (plain.token_budget, plain.compression) == (TokenBudget(max_tokens=50), CompressionConfig(strategy="hybrid"))
    assert plain.expires_at == START + timedelta(minutes=1)
    assert own.token_budget == TokenBudget(max_tokens=7)
    assert own.compression == CompressionConfig(strategy="sliding_window")
    assert own.expires_at == START + timedelta(seconds=5.5)


def test_an_id_is_taken_once(manager: SessionManager, clock: Clock) -> None:
    first = manager.create_session(id="s", user_id="u")
    clock.advance(seconds=1)
    with pytest.raises(SessionExistsError) as caught:
        manager.create_session(id="s", user_id="other")
    assert caught.value.session_id == "s"
    assert manager.get_session("s") == first


def test_an_id_is_taken_once_also_by_equal_calls_of_one_moment(manager: SessionManager) -> None:
    created: list[Event] = []
    manager.on("session:created", created.append)
    first = manager.create_session(id="s", user_id="u")
    with pytest.raises(SessionExistsError):
        manager.create_session(id="s", user_id="u")
    assert created == [SessionCreated(session_id="s", at=first.created_at)]


def test_an_update_sets_what_it_names_and_clears_what_it_names_none(manager: SessionManager) -> None:
    session = manager.create_session(user_id="u", active_agent_id="a", metadata={"title": "t"}, ttl=60)
    changed = manager.update_session(
        session.id, user_id=None, metadata=SessionMetadata(title="new", tags=["x"]), expires_at=None
    )
    assert changed == manager.get_session(session.id)
    assert changed == session.model_copy(
        update={
            "user_id": None,
            "metadata": SessionMetadata(title="new", tags=["x"]),
            "expires_at": None,
            "version": 2,
        }
    )


def test_an_update_can_wait_for_a_version(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.update_session(session.id, expected_version=1, user_id="first")
    with pytest.raises(ConcurrencyError) as caught:
        manager.update_session(session.id, expected_version=1, user_id="second")
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert caught.value.current == manager.get_session(session.id)
    assert manager.get_session(session.id).user_id == "first"


def test_messages_do_not_touch_the_version_and_updates_do_not_touch_the_totals(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_message(session.id, role="user", content="x" * 8)
    after = manager.update_session(session.id, expected_version=1, user_id="u")
    assert (after.version, after.message_count, after.token_count) == (2, 1, 2)


def test_an_ended_session_takes_no_messages_and_can_be_opened_again(manager: SessionManager) -> None:
    session = manager.create_session()
    assert manager.end_session(session.id).status == "completed"
    for add in (
        lambda: manager.add_message(session.id, role="user", content="x"),
        lambda: manager.add_messages(session.id, [{"role": "user", "content": "x"}]),
    ):
        with pytest.raises(SessionClosedError) as caught:
            add()
        assert (caught.value.session_id, caught.value.status) == (session.id, "completed")
    assert len(manager.get_messages(session.id)) == 0
    manager.update_session(session.id, status="active")
    manager.add_message(session.id, role="user", content="x")
    assert manager.get_session(session.id).message_count == 1


def test_a_paused_session_takes_messages(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.update_session(session.id, status="paused")
    manager.add_message(session.id, role="user", content="x")
    assert manager.get_session(session.id).message_count == 1


def test_a_deleted_session_is_gone_with_its_messages_and_its_id_is_free(manager: SessionManager) -> None:
    manager.create_session(id="s")
    manager.add_message("s", role="user", content="x", id="m")
    manager.delete_session("s")
    with pytest.raises(SessionNotFoundError):
        manager.get_session("s")
    with pytest.raises(SessionNotFoundError):
        manager.delete_session("s")
    assert len(manager.list_sessions()) == 0
    manager.create_session(id="s")
    assert list(manager.get_messages("s")) == []


@pytest.fixture
def listed(manager: SessionManager, clock: Clock) -> SessionManager:
    """Six sessions a minute apart: s0 to s5."""
    for number in range(6):
        manager.create_session(
            id=f"s{number}",
            user_id="even" if number % 2 == 0 else "odd",
            active_agent_id="agent" if number < 3 else None,
            metadata={"tags": [f"t{number % 3}", "all"]},
        )
        clock.advance(minutes=1)
    manager.end_session("s4")
    return manager


def minute(number: float) -> Any:
    return START + timedelta(minutes=number)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "543210"),
        ({"user_id": "even"}, "420"),
        ({"active_agent_id": "agent"}, "210"),
        ({"user_id": "odd", "active_agent_id": "agent"}, "1"),
        ({"status": "completed"}, "4"),
        ({"status": "active", "user_id": "even"}, "20"),
        ({"tags": "t1"}, "41"),
        ({"tags": ["t1", "t2"]}, "5421"),
        ({"tags": ("t0", "none")}, "30"),
        ({"created_after": minute(2)}, "543"),
        ({"created_before": minute(2)}, "10"),
        ({"created_after": minute(0.5), "created_before": minute(3.5), "tags": "all"}, "321"),
        ({"user_id": "nobody"}, ""),
        ({"limit": 2}, "54"),
        ({"limit": 1, "user_id": "odd"}, "5"),
        ({"limit": None}, "543210"),
    ],
)
def test_a_listing_meets_every_condition_newest_first(
    listed: SessionManager, conditions: dict[str, Any], expected: str
) -> None:
    found = listed.list_sessions(**conditions)
    assert isinstance(found, Page)
    assert "".join(session.id[1:] for session in found) == expected


def test_a_listing_goes_on_where_its_cursor_points(listed: SessionManager) -> None:
    first = listed.list_sessions(user_id="even", limit=2)
    rest = listed.list_sessions(user_id="even", limit=2, cursor=first.next_cursor)
    assert ([s.id for s in first], [s.id for s in rest], rest.next_cursor) == (["s4", "s2"], ["s0"], None)
    with pytest.raises(ValidationError, match="cursor"):
        listed.list_sessions(user_id="odd", limit=2, cursor=first.next_cursor)


def test_listing_everything_is_refused_where_the_store_cannot(variant: Variant, store: RecordingAdapter) -> None:
    store.capabilities = replace(store.capabilities, unscoped_listing=False)
    manager = variant.manager(store)
    manager.create_session(id="s", user_id="u")
    for listing in (
        lambda: manager.list_sessions(),
        lambda: manager.list_sessions(tags="t", status="active"),
        lambda: list(manager.iter_sessions()),
    ):
        with pytest.raises(NotSupportedError, match="user_id"):
            listing()
    assert "list_sessions" not in store.calls
    assert [s.id for s in manager.list_sessions(user_id="u")] == ["s"]
    assert [s.id for s in manager.iter_sessions(active_agent_id="a")] == []


def test_what_was_handed_out_or_in_is_no_way_into_the_store(manager: SessionManager) -> None:
    tags, custom, people = ["a"], {"k": [1]}, [{"id": "p", "metadata": {"m": [1]}}]
    session = manager.create_session(id="s", metadata={"tags": tags, "custom": custom}, participants=people)
    expected = session.model_copy(deep=True)
    tags.append("b")
    custom["k"].append(2)
    people[0]["metadata"]["m"].append(2)  # type: ignore[index]
    session.metadata.tags.append("c")
    session.participants.clear()
    manager.get_session("s").metadata.custom["k"].append(3)  # type: ignore[union-attr]
    manager.list_sessions()[0].participants.clear()
    given = SessionMetadata(tags=["z"])
    updated = manager.update_session("s", metadata=given)
    given.tags.append("y")
    updated.metadata.tags.append("x")
    stored = manager.get_session("s")
    assert stored.metadata.tags == ["z"]
    assert stored.participants == expected.participants
    again = manager.update_session("s", metadata=expected.metadata)
    assert again.metadata == expected.metadata
