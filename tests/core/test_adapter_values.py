"""The value types of the contract: patches, filters, queries, and what counts as a repetition."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
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
    check_batch,
    check_limit,
    is_repeated_append,
    is_repeated_create,
)

from ..kit.clocks import START
from ..kit.conversations import new_message, new_session

MILLISECOND = timedelta(milliseconds=1)


def test_a_patch_sets_and_clears_and_leaves_the_rest() -> None:
    before = new_session(user_id="u", active_agent_id="a", status="paused", metadata={"title": "t"})
    after = Patch({"active_agent_id": "b"}, frozenset({"user_id", "status", "metadata"})).apply(before)
    assert after == new_session(active_agent_id="b")
    assert before.user_id == "u"


def test_a_cleared_list_is_a_new_one_each_time() -> None:
    joined = [Participant(id="p", joined_at=START)]
    patch = Patch(clear=frozenset({"participants"}))
    first, second = patch.apply(new_session(participants=joined)), patch.apply(new_session(participants=joined))
    assert first.participants == second.participants == []
    assert first.participants is not second.participants


def test_a_field_without_a_default_cannot_be_cleared() -> None:
    with pytest.raises(ValidationError, match=r"^content, role cannot be cleared$"):
        Patch(clear=frozenset({"role", "content", "metadata"})).apply(new_message())


def test_an_empty_patch_changes_nothing() -> None:
    assert Patch().apply(new_session(user_id="u")) == new_session(user_id="u")


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
                "creation_token",
                "last_activity_at",
                "version",
                "message_count",
                "token_count",
                "system_message_ids",
                "forked_from",
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
        ({"created_after": START - MILLISECOND}, True),
        ({"created_after": START}, False),
        ({"created_before": START + MILLISECOND}, True),
        ({"created_before": START}, False),
        ({"user_id": "u", "active_agent_id": "a", "status": "active", "tags": frozenset({"y"})}, True),
        ({"user_id": "u", "status": "paused"}, False),
    ],
)
def test_a_session_meets_a_filter_when_it_meets_every_condition(conditions: dict[str, Any], met: bool) -> None:
    stored = new_session(user_id="u", active_agent_id="a", metadata=SessionMetadata(tags=["x", "y"]))
    assert SessionFilter(**conditions).matches(stored) is met


def test_a_session_without_user_or_agent_meets_no_filter_for_one() -> None:
    assert not SessionFilter(user_id="u").matches(new_session())
    assert not SessionFilter(active_agent_id="a").matches(new_session())


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        ({}, True),
        ({"roles": frozenset({"user", "tool"})}, True),
        ({"roles": frozenset({"tool"})}, False),
        ({"roles": frozenset()}, False),
        ({"after": START - MILLISECOND}, True),
        ({"after": START}, False),
        ({"before": START + MILLISECOND}, True),
        ({"before": START}, False),
        ({"ids": frozenset({"m"})}, True),
        ({"ids": frozenset({"n"})}, False),
        ({"ids": frozenset()}, False),
        ({"after_id": "n", "before_id": "n"}, True),
        ({"roles": frozenset({"user"}), "ids": frozenset({"n"})}, False),
    ],
)
def test_a_message_is_selected_when_it_meets_every_condition(conditions: dict[str, Any], met: bool) -> None:
    assert MessageQuery(**conditions).selects(new_message()) is met


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
times = st.none() | st.sampled_from([START, START + MILLISECOND])
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
        "max_batch": 1,
        "unscoped_listing": False,
        "strong_listing": False,
        "listing_totals": False,
        "ascending_listing": False,
        "activity_listing": False,
        "server_clock": False,
        "durable": False,
        "shared": False,
        "max_message_bytes": None,
        "atomic_turns": False,
        "overlapping_batches": False,
        "tail_replacement": False,
        "forks": False,
        "text_search": False,
        "conditional_delete": False,
        "owner_guard": False,
        "namespace_views": False,
    }


def test_a_health_status_has_no_details_unless_given() -> None:
    assert HealthStatus(status="healthy") == HealthStatus(status="healthy", details={}, remedy=None, latency_ms=None)


def test_the_same_create_again_is_a_repetition() -> None:
    create = new_session(user_id="u", creation_token="a")
    assert is_repeated_create(create, create)


def test_a_create_is_a_repetition_although_messages_came_meanwhile() -> None:
    totals = {"message_count": 3, "token_count": 9, "system_message_ids": ["m"]}
    stored = new_session(creation_token="a", last_activity_at=START + MILLISECOND, **totals)
    assert is_repeated_create(stored, new_session(creation_token="a"))


def test_a_create_is_a_repetition_although_the_session_was_updated_meanwhile() -> None:
    stored = new_session(creation_token="a", version=2, status="completed")
    assert is_repeated_create(stored, new_session(creation_token="a"))


@pytest.mark.parametrize("token", ["b", None])
def test_a_create_by_another_call_is_not_a_repetition(token: str | None) -> None:
    assert not is_repeated_create(new_session(creation_token="a"), new_session(creation_token=token))


def test_a_create_without_a_token_is_not_a_repetition() -> None:
    assert not is_repeated_create(new_session(), new_session())


def test_a_batch_of_which_nothing_is_stored_is_new() -> None:
    assert not is_repeated_append([None, None], [new_message("a"), new_message("b")])


def test_a_batch_that_is_stored_whole_is_a_repetition() -> None:
    turn = [new_message("a"), new_message("b", role="assistant")]
    assert is_repeated_append(turn, turn)


def test_a_batch_is_a_repetition_although_its_times_were_moved() -> None:
    assert is_repeated_append([new_message("a", created_at=START + MILLISECOND)], [new_message("a")])


def test_a_message_that_was_edited_since_is_not_taken_for_what_is_sent() -> None:
    stored = [new_message("a", content="edited", updated_at=START), new_message("b")]
    with pytest.raises(ValidationError, match="message id 'a' was stored before and changed since; read the message"):
        is_repeated_append(stored, [new_message("a"), new_message("b")])
    assert is_repeated_append(stored, [new_message("a", content="edited"), new_message("b")])


def test_a_batch_that_is_stored_in_part_is_refused() -> None:
    with pytest.raises(ValidationError, match="only part of this batch is stored already; repeat a batch whole"):
        is_repeated_append([new_message("a"), None], [new_message("a"), new_message("b")])


@pytest.mark.parametrize("changes", [{"content": "other"}, {"role": "system"}, {"content": [{"type": "x"}]}])
def test_an_id_that_another_message_has_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="message id 'a' belongs to another message; choose a new id"):
        is_repeated_append([new_message("a")], [new_message("a", **changes)])


def test_a_batch_with_one_id_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="two messages of the batch have the same id; give each its own"):
        check_batch([new_message("a"), new_message("a")])


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValidationError, match="a batch has at least one message"):
        check_batch([])


def test_a_filter_takes_a_limited_number_of_tags() -> None:
    assert len(SessionFilter(tags=frozenset(map(str, range(100)))).tags) == 100
    with pytest.raises(ValidationError, match="a filter takes at most 100 tags, not 101; ask in several calls"):
        SessionFilter(tags=frozenset(map(str, range(101))))
