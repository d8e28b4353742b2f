"""Models: what they accept and refuse, and that they read back what they wrote."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from session_continuity import (
    CompressionConfig,
    CompressionState,
    Handoff,
    Message,
    MessageMetadata,
    NewMessage,
    Participant,
    Session,
    SessionMetadata,
    TokenBudget,
    ToolCall,
    ToolResult,
    format_timestamp,
)
from session_continuity.model_base import copied

from ..kit.conversations import new_message

NOON = datetime(2026, 5, 4, 12, 0, 0, 123000, UTC)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
ids = texts.filter(lambda text: 1 <= len(text.encode()) <= 256)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
offsets = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC) | offsets)
counts = st.integers(0, 2**53)
blocks = st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(["audio", "x-own", "thinking"]), objects)
contents = texts | st.lists(
    st.builds(lambda text, rest: {**rest, "type": "text", "text": text}, texts, objects)
    | st.builds(lambda url: {"type": "image_url", "image_url": url}, texts | objects)
    | blocks,
    max_size=3,
)
message_metadata = st.builds(
    lambda own, typed: {**own, **typed},
    objects,
    st.fixed_dictionaries(
        {},
        optional={
            "tool_calls": st.lists(
                st.fixed_dictionaries({"id": ids, "name": texts}, optional={"arguments": texts | objects}), max_size=2
            ),
            "tool_results": st.lists(
                st.fixed_dictionaries(
                    {"tool_call_id": ids}, optional={"result": json_values, "name": texts, "is_error": st.booleans()}
                ),
                max_size=2,
            ),
            "annotations": objects,
        },
    ),
)
session_metadata = st.builds(
    lambda own, typed: {**own, **typed},
    objects,
    st.fixed_dictionaries(
        {},
        optional={
            "title": texts | st.none(),
            "tags": st.lists(texts, max_size=3),
            "source": texts | st.none(),
            "custom": objects,
        },
    ),
)
messages = st.builds(
    Message,
    id=ids,
    session_id=ids,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=contents,
    metadata=message_metadata,
    token_count=st.none() | counts,
    created_at=moments,
    updated_at=st.none() | moments,
)
participants = st.builds(
    Participant,
    id=ids,
    role=st.sampled_from(["user", "agent", "observer"]),
    metadata=objects,
    joined_at=moments,
    left_at=st.none() | moments,
)
handoffs = st.builds(
    Handoff, from_agent_id=st.none() | ids, to_agent_id=ids, reason=st.none() | texts, context=json_values, at=moments
)
compression_states = st.builds(
    CompressionState,
    strategy=texts,
    summary=st.none() | texts,
    summary_token_count=counts,
    covered_until=ids,
    covered_through=moments,
    covered_messages=counts,
    covered_tokens=counts,
    updated_at=moments,
)
sessions = st.builds(
    Session,
    id=ids,
    user_id=st.none() | ids,
    active_agent_id=st.none() | ids,
    status=st.sampled_from(["active", "paused", "completed", "expired"]),
    metadata=session_metadata,
    participants=st.lists(participants, max_size=2),
    handoffs=st.lists(handoffs, max_size=2),
    token_budget=st.none()
    | st.builds(TokenBudget, max_tokens=st.integers(11, 2**40), reserve_tokens=st.integers(0, 10)),
    compression=st.none() | st.builds(lambda own: CompressionConfig(**{**own, "strategy": "s"}), objects),
    compression_state=st.none() | compression_states,
    created_at=moments,
    last_activity_at=moments,
    expires_at=st.none() | moments,
    sliding_ttl=st.none() | st.floats(0.001, 1e10),
    version=st.integers(1, 2**53),
    message_count=counts,
    token_count=counts,
    system_message_ids=st.lists(ids, max_size=2),
)


def message(**changes: Any) -> Message:
    fields = {"id": "m", "session_id": "s", "role": "user", "content": "hello", "created_at": NOON}
    return Message(**{**fields, **changes})


def refusal(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        message(**changes)
    return str(caught.value)


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = [value]
    return value


@given(messages)
@settings(max_examples=60)
def test_a_message_is_read_from_json_as_it_was_written(written: Message) -> None:
    assert Message.model_validate_json(written.model_dump_json()) == written


@given(sessions)
@settings(max_examples=60)
def test_a_session_is_read_from_json_as_it_was_written(written: Session) -> None:
    assert Session.model_validate_json(written.model_dump_json()) == written


@given(messages)
@settings(max_examples=30)
def test_a_message_is_read_from_its_python_fields_as_it_was_written(written: Message) -> None:
    assert Message.model_validate(written.model_dump()) == written


@given(messages | sessions)
@settings(max_examples=60)
def test_json_is_plain_and_encodable(written: Message | Session) -> None:
    assert json.loads(written.model_dump_json().encode()) == json.loads(json.dumps(written.model_dump(mode="json")))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**63,
        -(2**63) - 1,
        10**400,
        0.1,
        1.0,
        1e300,
        5e-324,
        "",
        "\x00\x1f\u2028",
        "😀",
        [],
        {},
    ],
)
def test_a_json_value_keeps_its_value_and_its_type(value: Any) -> None:
    read = Message.model_validate_json(message(metadata={"own": [value]}).model_dump_json()).metadata["own"][0]
    assert (read, type(read)) == (value, type(value))


def test_negative_zero_keeps_its_sign() -> None:
    assert str(Message.model_validate_json(message(metadata={"z": -0.0}).model_dump_json()).metadata["z"]) == "-0.0"


@given(objects)
@settings(max_examples=60)
def test_metadata_accepts_any_further_key(own: dict[str, Any]) -> None:
    read = Message.model_validate_json(message(metadata=own).model_dump_json()).metadata
    assert {key: read[key] for key in own} == own


@pytest.mark.parametrize(
    "key",
    ["model_dump", "model_copy", "copy", "json", "model_config", "model_fields", "__dict__", "__class__", "_x", ""],
)
def test_a_key_named_like_a_method_is_data_and_leaves_the_method_alone(key: str) -> None:
    metadata = MessageMetadata.model_validate({key: 1, "annotations": {key: 2}})
    read = MessageMetadata.model_validate_json(metadata.model_dump_json())
    assert read == metadata
    assert (read[key], read["annotations"]) == (1, {key: 2})


def test_typed_and_further_keys_of_metadata_are_read_alike() -> None:
    metadata = SessionMetadata.model_validate({"title": "Billing", "tags": ["vip"], "plan": "gold"})
    assert (metadata["title"], metadata["tags"], metadata["plan"], metadata.title) == (
        "Billing",
        ["vip"],
        "gold",
        "Billing",
    )
    with pytest.raises(KeyError):
        metadata["missing"]


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        (datetime(2026, 5, 4, 12, 0, 0, 123999, UTC), NOON),
        (datetime(2026, 5, 4, 14, 0, 0, 123000, timezone(timedelta(hours=2))), NOON),
        ("2026-05-04T12:00:00.123Z", NOON),
        ("2026-05-04T12:00:00.123456+00:00", NOON),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
    ],
)
def test_a_time_is_kept_in_utc_cut_to_milliseconds(given_time: Any, kept: datetime) -> None:
    created_at = message(created_at=given_time).created_at
    assert created_at == kept
    assert created_at.utcoffset() == timedelta(0)


@given(moments)
def test_a_time_is_written_with_a_fixed_width_and_read_back(moment: datetime) -> None:
    kept = message(created_at=moment).created_at
    text = json.loads(message(created_at=moment).model_dump_json())["created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert text == format_timestamp(kept)
    assert datetime.fromisoformat(text) == kept


def test_the_time_of_another_zone_is_written_in_utc() -> None:
    assert format_timestamp(datetime(2026, 5, 4, 14, tzinfo=timezone(timedelta(hours=2)))) == "2026-05-04T12:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2026-05-04T12:00:00.123Z", NOON),
        ("2026-05-04T12:00:00.123999Z", NOON),
        ("2026-05-04T14:00:00.123+02:00", NOON),
        ("2026-05-04T12:00:00Z", NOON.replace(microsecond=0)),
    ],
)
def test_a_time_in_json_may_be_written_by_others(text: str, kept: datetime) -> None:
    written = message().model_dump_json().replace("2026-05-04T12:00:00.123Z", text)
    assert Message.model_validate_json(written).created_at == kept


@pytest.mark.parametrize("text", ["2026-13-04T12:00:00.123Z", "2026-05-04T12:00:00.123", "0001-01-01T00:00:00+14:00"])
def test_a_malformed_time_in_json_is_refused(text: str) -> None:
    written = message().model_dump_json().replace("2026-05-04T12:00:00.123Z", text)
    with pytest.raises(ValidationError, match="created_at"):
        Message.model_validate_json(written)


@given(moments, moments)
def test_the_order_of_written_times_is_the_order_of_the_times(one: datetime, other: datetime) -> None:
    left, right = message(created_at=one).created_at, message(created_at=other).created_at
    assert (left < right) == (format_timestamp(left) < format_timestamp(right))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"created_at": datetime(2026, 5, 4)}, "must be a time with a time zone, such as 2030-01-31T12:00:00Z"),
        ({"created_at": "2026-05-04T12:00:00"}, "must be a time with a time zone, such as 2030-01-31T12:00:00Z"),
        ({"created_at": "yesterday"}, "must be a datetime with a time zone, or a string such as 2030-01-31"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "must be between the years 1 and 9999 in UTC"),
        ({"created_at": "9999-12-31T23:59:59-14:00"}, "must be between the years 1 and 9999 in UTC"),
        ({"content": "a\ud800"}, "has a lone surrogate, which UTF-8 cannot encode"),
        ({"content": [{"type": "text", "text": "\udfff"}]}, "has a lone surrogate"),
        ({"metadata": {"k": {"a": ["\ud800"]}}}, "has a lone surrogate"),
        ({"metadata": {"annotations": {"\ud800": 1}}}, "has a lone surrogate"),
        ({"metadata": {"\ud800": 1}}, "metadata\n  a key has a lone surrogate"),
        ({"metadata": {"tool_results": [{"tool_call_id": "c", "result": "\ud800"}]}}, "has a lone surrogate"),
        ({"metadata": {"k": float("nan")}}, "must be a finite number"),
        ({"metadata": {"annotations": {"k": [float("inf")]}}}, "must be a finite number"),
        ({"metadata": {"tool_results": [{"tool_call_id": "c", "result": float("-inf")}]}}, "must be a finite number"),
        ({"content": [{"type": "x", "n": float("nan")}]}, "must be a finite number"),
        ({"metadata": {"k": nested(150)}}, "must not be nested more than 100 levels deep"),
        ({"metadata": {"k": [10**5000]}}, "must not hold integers of more than 3,000 digits"),
        ({"metadata": {"k": (1, 2)}}, "must be JSON, not a tuple; pass list(value)"),
        ({"metadata": {"k": NOON}}, "must be JSON, not a datetime; pass value.isoformat()"),
        ({"metadata": {"k": {1: 2}}}, "a key must be a string"),
        (
            {"content": [{"text": "no type"}]},
            "must have a string as its 'type', for example {'type': 'text', 'text': …}",
        ),
        ({"content": [{"type": ""}]}, "must have a string as its 'type'"),
        ({"content": [{"type": 1}]}, "must have a string as its 'type'"),
        ({"content": [{"type": "text"}]}, "must have a string as its 'text'"),
        ({"content": [{"type": "text", "text": None}]}, "must have a string as its 'text'"),
        (
            {"content": [{"type": "image_url"}]},
            "must have a string or a dict as its 'image_url', for example {'url': …}",
        ),
        ({"content": ["text"]}, "content.0\n  must be a dict"),
        ({"content": None}, "must be a string or a list"),
        ({"id": ""}, "must be 1 to 256 bytes of UTF-8, not 0"),
        ({"id": "é" * 129}, "must be 1 to 256 bytes of UTF-8, not 258"),
        ({"id": "a\ud800"}, "has a lone surrogate"),
        ({"role": "narrator"}, "must be 'system', 'user', 'assistant' or 'tool'"),
        ({"token_count": -1}, "must be 0 or more"),
        ({"speaker": "x"}, "unknown field; the fields are id, session_id, role, content"),
    ],
)
def test_a_value_that_no_store_can_keep_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": [{"type": "text", "tekst": "c4n4ry"}]},
        {"content": {"c4n4ry": "c4n4ry"}},
        {"content": "c4n4ry\ud800"},
        {"role": "c4n4ry"},
        {"id": "c4n4ry" * 50},
        {"created_at": "c4n4ry"},
        {"token_count": "c4n4ry"},
        {"metadata": "c4n4ry"},
        {"metadata": {"k": {"c4n4ry"}}},
        {"metadata": {"tool_calls": [{"id": "c4n4ry"}]}},
    ],
)
def test_an_error_does_not_show_the_value(changes: dict[str, Any]) -> None:
    assert "c4n4ry" not in refusal(**changes)


def test_the_id_of_a_call_may_be_as_long_as_a_signature() -> None:
    call = ToolCall(id="x" * 4096, name="f")
    assert ToolResult(tool_call_id=call.id).tool_call_id == call.id
    with pytest.raises(ValidationError, match="must be 1 to 4096 bytes of UTF-8, not 4097"):
        ToolCall(id="x" * 4097, name="f")


@pytest.mark.parametrize("id", ["a", "é" * 128, "#", "SESSION#1", "a:b/c d", "😀", "x" * 256, " ", "\x00"])
def test_any_text_of_up_to_256_bytes_is_an_id(id: str) -> None:
    assert message(id=id, session_id=id).id == id


def test_nesting_of_100_levels_is_kept() -> None:
    deep = message(metadata={"annotations": {"k": nested(98)}})
    assert Message.model_validate_json(deep.model_dump_json()) == deep


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:…", "detail": "low"}},
        {"type": "image_url", "image_url": "https://example.com/a.png"},
        {"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}},
    ],
)
def test_content_blocks_are_kept_verbatim(block: dict[str, Any]) -> None:
    assert message(content=[block]).content == [block]


def test_empty_content_is_content() -> None:
    assert (message(content="").content, message(content=[]).content) == ("", [])


@pytest.mark.parametrize("arguments", ['{"a": 1}', "not json", "", {"a": [1, None]}])
def test_tool_arguments_are_a_string_or_an_object(arguments: Any) -> None:
    assert ToolCall(id="c", name="f", arguments=arguments).arguments == arguments


@pytest.mark.parametrize("result", [None, "", 0, [1], {"a": None}])
def test_a_tool_result_is_any_json(result: Any) -> None:
    assert ToolResult(tool_call_id="c", result=result).result == result


@pytest.mark.parametrize(
    "model",
    [
        message(),
        message().metadata,
        NewMessage(role="user", content=""),
        Session(id="s", created_at=NOON, last_activity_at=NOON),
        TokenBudget(max_tokens=1),
        Participant(id="p", joined_at=NOON),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_cannot_be_changed(model: Any) -> None:
    for name in type(model).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, getattr(model, name))


def test_a_model_shares_no_list_or_dict_with_its_input() -> None:
    tags, custom, content = ["a"], {"k": [1]}, [{"type": "x", "list": [1]}]
    metadata = SessionMetadata(tags=tags, custom=custom)  # type: ignore[arg-type]
    made = message(content=content, metadata={"own": custom})
    tags.append("b")
    custom["k"].append(2)
    content[0]["list"].append(2)  # type: ignore[attr-defined]
    assert (metadata.tags, metadata.custom) == (["a"], {"k": [1]})
    assert (made.content, made.metadata["own"]) == ([{"type": "x", "list": [1]}], {"k": [1]})


def test_a_budget_keeps_room_for_the_answer() -> None:
    budget = TokenBudget(max_tokens=100, reserve_tokens=30)
    assert (budget.available, budget.hard_limit) == (70, None)
    assert TokenBudget(max_tokens=100, reserve_tokens=30, overflow_strategy="error").hard_limit == 70


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": 0}, "greater than 0"),
        ({"max_tokens": 10, "reserve_tokens": -1}, "must be 0 or more"),
        ({"max_tokens": 10, "reserve_tokens": 10}, "reserve_tokens must be smaller than max_tokens"),
        ({"max_tokens": 10, "overflow_strategy": "explode"}, "must be 'truncate', 'compress' or 'error'"),
    ],
)
def test_a_budget_without_room_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TokenBudget(**fields)


def test_a_session_keeps_twenty_handoffs() -> None:
    handoff = Handoff(to_agent_id="a", at=NOON)
    assert len(Session(id="s", created_at=NOON, last_activity_at=NOON, handoffs=[handoff] * 20).handoffs) == 20
    with pytest.raises(ValidationError, match="at most 20 items"):
        Session(id="s", created_at=NOON, last_activity_at=NOON, handoffs=[handoff] * 21)


def test_a_strategy_of_a_plugin_may_have_further_keys() -> None:
    config = CompressionConfig.model_validate({"strategy": "own", "depth": 3})
    assert (config["strategy"], config["depth"], config["target_tokens"]) == ("own", 3, None)


def test_a_copy_with_other_fields_is_what_model_copy_makes() -> None:
    metadata = MessageMetadata.model_validate({"tool_calls": [{"id": "x", "name": "f"}], "further": {"key": 1}})
    message = new_message(metadata=metadata)
    for model, fields in ((message, {"content": "other", "token_count": 7}), (metadata, {"tool_calls": []})):
        before = model.model_dump()
        copy = copied(model, **fields)
        expected = model.model_copy(update=fields)
        assert (copy, copy.model_dump()) == (expected, expected.model_dump())
        assert copy.model_dump(exclude_unset=True) == expected.model_dump(exclude_unset=True)
        assert model.model_dump() == before
        with pytest.raises(ValidationError):
            copy.content = "changed"  # type: ignore[union-attr]
