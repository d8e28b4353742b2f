"""The value types of the contract: patches, filters, queries, and what counts as a repetition."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import (
    MAX_PAGE,
    MESSAGE_FIELDS,
    SESSION_FIELDS,
    Appended,
    Capabilities,
    HealthStatus,
    Message,
    MessageQuery,
    Participant,
    Patch,
    Session,
    SessionFilter,
    SessionMetadata,
    ValidationError,
    check_limit,
    is_repeated_append,
    is_repeated_create,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def session(**changes: Any) -> Session:
    return Session(**{"id": "s", "created_at": NOON, "last_activity_at": NOON, **changes})


def message(id: str = "m", **changes: Any) -> Message:
    return Message(**{"id": id, "session_id": "s", "role": "user", "content": "hi", "created_at": NOON, **changes})


def test_a_patch_sets_and_clears_and_leaves_the_rest() -> None:
    before = session(user_id="u", active_agent_id="a", status="paused", metadata={"title": "t"})
    after = Patch({"active_agent_id": "b"}, frozenset({"user_id", "status", "metadata"})).apply(before)
    assert after == session(active_agent_id="b")
    assert before.user_id == "u"


def test_a_cleared_list_is_a_new_one_each_time() -> None:
    joined = [Participant(id="p", joined_at=NOON)]
    patch = Patch(clear=frozenset({"participants"}))
    first, second = patch.apply(session(participants=joined)), patch.apply(session(participants=joined))
    assert first.participants == second.participants == []
    assert first.participants is not second.participants


def test_a_field_without_a_default_cannot_be_cleared() -> None:
    with pytest.raises(ValidationError, match=r"^content, role cannot be cleared$"):
        Patch(clear=frozenset({"role", "content", "metadata"})).apply(message())


def test_an_empty_patch_changes_nothing() -> None:
    assert Patch().apply(session(user_id="u")) == session(user_id="u")


def test_a_field_cannot_be_set_and_cleared_at_once() -> None:
    with pytest.raises(ValidationError, match="user_id cannot be set and cleared at once"):
        Patch({"user_id": "u", "status": "paused"}, frozenset({"user_id"}))


@pytest.mark.parametrize(
    ("fields", "model", "fixed"),
    [
        (
            SESSION_FIELDS,
            Session,
            {
                "id",
                "created_at",
                "last_activity_at",
                "version",
                "message_count",
                "token_count",
                "system_message_ids",
            },
        ),
        (MESSAGE_FIELDS, Message, {"id", "session_id", "created_at"}),
    ],
)
def test_every_field_is_either_changeable_or_kept_by_the_store(
    fields: frozenset[str], model: type[Session | Message], fixed: set[str]
) -> None:
    assert model.model_fields.keys() - fields == fixed
    assert fields <= model.model_fields.keys()


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        ({}, True),
        ({"user_id": "u"}, True),
        ({"user_id": "v"}, False),
        ({"active_agent_id": "a"}, True),
        ({"active_agent_id": "b"}, False),
        ({"status": "active"}, True),
        ({"status": "paused"}, False),
        ({"tags": frozenset({"x"})}, True),
        ({"tags": frozenset({"x", "unknown"})}, True),
        ({"tags": frozenset({"unknown"})}, False),
        ({"created_after": NOON - MILLISECOND}, True),
        ({"created_after": NOON}, False),
        ({"created_before": NOON + MILLISECOND}, True),
        ({"created_before": NOON}, False),
        ({"user_id": "u", "active_agent_id": "a", "status": "active", "tags": frozenset({"y"})}, True),
        ({"user_id": "u", "status": "paused"}, False),
    ],
)
def test_a_session_meets_a_filter_when_it_meets_every_condition(conditions: dict[str, Any], met: bool) -> None:
    stored = session(user_id="u", active_agent_id="a", metadata=SessionMetadata(tags=["x", "y"]))
    assert SessionFilter(**conditions).matches(stored) is met


def test_a_session_without_user_or_agent_meets_no_filter_for_one() -> None:
    assert not SessionFilter(user_id="u").matches(session())
    assert not SessionFilter(active_agent_id="a").matches(session())


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        ({}, True),
        ({"roles": frozenset({"user", "tool"})}, True),
        ({"roles": frozenset({"tool"})}, False),
        ({"roles": frozenset()}, False),
        ({"after": NOON - MILLISECOND}, True),
        ({"after": NOON}, False),
        ({"before": NOON + MILLISECOND}, True),
        ({"before": NOON}, False),
        ({"ids": frozenset({"m"})}, True),
        ({"ids": frozenset({"n"})}, False),
        ({"ids": frozenset()}, False),
        ({"after_id": "n", "before_id": "n"}, True),
        ({"roles": frozenset({"user"}), "ids": frozenset({"n"})}, False),
    ],
)
def test_a_message_is_selected_when_it_meets_every_condition(conditions: dict[str, Any], met: bool) -> None:
    assert MessageQuery(**conditions).selects(message()) is met


@pytest.mark.parametrize("limit", [1, 100, MAX_PAGE])
def test_a_page_size_that_every_store_serves_is_accepted(limit: int) -> None:
    check_limit(limit)
    assert MessageQuery(limit=limit).limit == limit


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1, True, "3", 2.0, None])
def test_another_page_size_is_refused(limit: Any) -> None:
    for use in (check_limit, lambda limit: MessageQuery(limit=limit)):
        with pytest.raises(ValidationError, match=f"limit must be 1 to 1000, not {limit}"):
            use(limit)


names = st.none() | st.text(max_size=3)
times = st.none() | st.sampled_from([NOON, NOON + MILLISECOND])
filters = st.builds(
    SessionFilter,
    user_id=names,
    active_agent_id=names,
    status=st.none() | st.sampled_from(["active", "paused"]),
    tags=st.frozensets(st.text(max_size=2), max_size=2),
    created_after=times,
    created_before=times,
)
queries = st.builds(
    MessageQuery,
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(1, 3),
    roles=st.none() | st.frozensets(st.sampled_from(["user", "tool"])),
    after=times,
    before=times,
    after_id=names,
    before_id=names,
    ids=st.none() | st.frozensets(st.text(max_size=2), max_size=2),
)


@given(filters, filters)
def test_filters_have_one_key_exactly_when_they_are_equal(one: SessionFilter, other: SessionFilter) -> None:
    assert (one.key() == other.key()) == (one == other)


@given(queries, queries, st.text(max_size=2), st.text(max_size=2))
def test_queries_have_one_key_exactly_when_all_but_their_page_size_is_equal(
    one: MessageQuery, other: MessageQuery, session_id: str, other_session_id: str
) -> None:
    same = (session_id, dataclasses.replace(one, limit=1)) == (other_session_id, dataclasses.replace(other, limit=1))
    assert (one.key(session_id) == other.key(other_session_id)) == same


@pytest.mark.parametrize("value", [Patch(), SessionFilter(), MessageQuery(), Appended(messages=()), Capabilities()])
def test_a_value_of_the_contract_cannot_be_changed(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


def test_capabilities_are_closed_unless_declared() -> None:
    assert dataclasses.asdict(Capabilities()) == {
        "max_turn": 1,
        "unscoped_listing": False,
        "indexed_listing": False,
        "strong_listing": False,
        "listing_totals": False,
        "native_expiry": False,
        "server_clock": False,
        "durable": False,
        "shared": False,
        "change_feed": False,
        "max_message_bytes": None,
    }


def test_a_health_status_has_no_details_unless_given() -> None:
    assert HealthStatus(status="healthy") == HealthStatus(status="healthy", details={}, remedy=None, latency_ms=None)


def test_the_same_create_again_is_a_repetition() -> None:
    assert is_repeated_create(session(user_id="u"), session(user_id="u"))


def test_a_create_is_a_repetition_although_messages_came_meanwhile() -> None:
    stored = session(message_count=3, token_count=9, last_activity_at=NOON + MILLISECOND, system_message_ids=["m"])
    assert is_repeated_create(stored, session())


def test_a_create_is_a_repetition_although_the_session_was_updated_meanwhile() -> None:
    assert is_repeated_create(session(version=2, status="completed"), session())


@pytest.mark.parametrize(
    "changes", [{"created_at": NOON + MILLISECOND}, {"user_id": "other"}, {"metadata": {"title": "other"}}]
)
def test_another_create_of_the_same_id_is_no_repetition(changes: dict[str, Any]) -> None:
    assert not is_repeated_create(session(), session(**changes))


def test_another_create_is_no_repetition_of_an_updated_session() -> None:
    assert not is_repeated_create(session(version=2), session(created_at=NOON + MILLISECOND))


def test_a_turn_of_which_nothing_is_stored_is_new() -> None:
    assert not is_repeated_append([None, None], [message("a"), message("b")])


def test_a_turn_that_is_stored_whole_is_a_repetition() -> None:
    turn = [message("a"), message("b", role="assistant")]
    assert is_repeated_append(turn, turn)


def test_a_turn_is_a_repetition_although_its_times_were_moved() -> None:
    assert is_repeated_append([message("a", created_at=NOON + MILLISECOND)], [message("a")])


def test_a_turn_is_a_repetition_although_a_message_was_edited_since() -> None:
    stored = [message("a", content="edited", role="system", updated_at=NOON), message("b")]
    assert is_repeated_append(stored, [message("a"), message("b")])


def test_a_turn_that_is_stored_in_part_is_refused() -> None:
    with pytest.raises(ValidationError, match="only part of this turn is stored already; repeat a turn whole"):
        is_repeated_append([message("a"), None], [message("a"), message("b")])


@pytest.mark.parametrize("changes", [{"content": "other"}, {"role": "system"}, {"content": [{"type": "x"}]}])
def test_an_id_that_another_message_has_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="message id 'a' is taken by another message; choose a new id"):
        is_repeated_append([message("a")], [message("a", **changes)])


def test_a_turn_with_one_id_twice_is_refused() -> None:
    for stored in ([None, None], [message("a"), message("a")]):
        with pytest.raises(ValidationError, match="two messages of the turn have the same id; give each its own"):
            is_repeated_append(stored, [message("a"), message("a")])
