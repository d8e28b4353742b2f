"""Values that use everything that a model can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from session_continuity import (
    CompressionConfig,
    CompressionState,
    Handoff,
    Message,
    MessageMetadata,
    Participant,
    Session,
    SessionMetadata,
    TokenBudget,
    ToolCall,
    ToolResult,
)

if TYPE_CHECKING:
    from session_continuity_conformance.store_fixture import StoreFixture

FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(microsecond=999_000, tzinfo=UTC)

TEXTS = {
    "empty": "",
    "a space": " ",
    "line ends and tabs": "a\nb\r\nc\td\u2028e",
    "controls and NUL": "\x00\x01\x1f\x7f",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈",
    "combining and composed": "e\u0301 \u00e9",
    "right to left": "שלום \u202eabc",
    "beyond the basic plane": "𝔘𠜎\U0010ffff",
    "byte order mark": "\ufeffx\ufffe\uffff",
    "looks like a list": "[1, 2]",
    "looks like an object": '{"type": "text"}',
    "looks like JSON text": '"quoted"',
    "looks like null": "null",
    "looks like a number": "1e5",
    "quotes and backslashes": "'\";\\--%s{}$",
    "white space at the ends": "  x \n",
}

NUMBERS: dict[str, Any] = {
    "integers": [0, -1, 2**53 + 1, -(2**63), 10**20],
    "floats": [0.1, -2.5e-10, 1e300, 1.7976931348623157e308, 5e-324, 123456789.123456789],
    "whole float": 1.0,
    "negative zero": -0.0,
}

JSON: dict[str, Any] = {
    "null": None,
    "nulls": [None, {"deep": None}],
    "booleans": [True, False],
    "empty": {"list": [], "object": {}, "text": ""},
    "nested": {"a": [{"b": [{"c": [1, "2", None, True]}]}]},
    "odd keys": {"": 1, "a.b": 2, "$c": 3, "#d": 4, "é👍": 5, "PK": 6, "id": 7, "ttl": 8},
}

IDS = (
    "plain",
    "with space",
    "a#b",
    "a:b:c",
    "a/b/../c",
    "a|b,c;d=e&f?g",
    "%41%2F",
    "{braces}",
    "[brackets]*?",
    "\"quotes'",
    "back\\slash",
    "émoji-👍",
    "META",
    "SESSION#x",
    ".",
    "..",
    "-1",
    "0",
    "a" * 256,
    "👍" * 64,
    "Case",
    "case",
)


def full_session(store: StoreFixture) -> Session:
    """A session with a value in every field that a manager may set."""
    moment = store.tick()
    return store.new_session(
        user_id="user",
        active_agent_id="agent",
        status="paused",
        metadata=SessionMetadata.model_validate(
            {"title": "Title", "tags": ["b", "a"], "source": "api", "custom": {"k": [1, None]}, "own": {"x": 1.5}}
        ),
        participants=[
            Participant(id="p1", role="agent", metadata={"n": 1}, joined_at=moment),
            Participant(id="p2", joined_at=moment, left_at=moment + timedelta(milliseconds=5)),
        ],
        handoffs=[Handoff(from_agent_id="x", to_agent_id="agent", reason="why", context={"k": "v"}, at=moment)],
        token_budget=TokenBudget(max_tokens=1000, reserve_tokens=10, overflow_strategy="error"),
        compression=CompressionConfig.model_validate(
            {"strategy": "hybrid", "target_tokens": 100, "min_messages": 0, "own": [1]}
        ),
        compression_state=compression_state(store),
        expires_at=moment + timedelta(days=2, milliseconds=123),
        sliding_ttl=90.5,
    )


def compression_state(store: StoreFixture) -> CompressionState:
    """A stored summary."""
    return CompressionState(
        strategy="hybrid",
        summary="so far",
        summary_token_count=2,
        covered_until="m9",
        covered_through=store.tick(),
        covered_messages=9,
        covered_tokens=90,
        updated_at=store.tick(),
    )


def full_metadata() -> MessageMetadata:
    """Message metadata with calls, results, annotations and a key that the caller added."""
    return MessageMetadata.model_validate(
        {
            "tool_calls": [
                ToolCall(id="c1", name="search", arguments='{"q": "x",  "n": 1}'),
                ToolCall(id="c2", name="get", arguments={"deep": {"null": None}}),
            ],
            "tool_results": [
                ToolResult(tool_call_id="c1", result=[1, {"two": 2.0}], name="search"),
                ToolResult(tool_call_id="c2", result=None, is_error=True),
            ],
            "annotations": {"score": 0.5},
            "own": {"trace": "t"},
        }
    )


def full_message(store: StoreFixture, session_id: str) -> Message:
    """A message with a value in every field."""
    return store.message(
        session_id,
        [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}],
        role="assistant",
        tokens=12,
        metadata=full_metadata(),
        updated_at=store.tick(),
    )
