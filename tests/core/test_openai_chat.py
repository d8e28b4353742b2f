"""Conversion of OpenAI chats and back: nothing is lost, and typed fields mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st
from pydantic import BaseModel

from session_continuity import (
    ChatFormatError,
    MessageMetadata,
    NewMessage,
    ToolResult,
    ValidationError,
    from_openai,
    to_openai,
)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KNOWN = {"role", "content", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
UNKNOWN_KEYS = st.dictionaries(TEXTS.filter(lambda key: key not in KNOWN), JSON, max_size=3)

BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}, optional={"cache_control": JSON}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXTS}) | TEXTS}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": JSON}),
    st.fixed_dictionaries({"type": IDS.filter(lambda kind: kind not in ("text", "image_url"))}, optional={"x": JSON}),
)
CONTENTS = TEXTS | st.lists(BLOCKS, max_size=3)
FUNCTIONS = st.fixed_dictionaries({"name": TEXTS}, optional={"arguments": TEXTS, "description": JSON})
CALLS = st.one_of(
    st.fixed_dictionaries(
        {"id": IDS, "function": FUNCTIONS}, optional={"type": st.just("function"), "index": st.integers()}
    ),
    st.fixed_dictionaries(
        {"id": IDS, "type": st.just("custom"), "custom": st.fixed_dictionaries({"name": TEXTS, "input": TEXTS})}
    ),
)


def chat_message(roles: list[str], fixed: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    known = st.fixed_dictionaries({"role": st.sampled_from(roles), **fixed}, optional=optional)
    return st.tuples(UNKNOWN_KEYS, known).map(lambda parts: {**parts[0], **parts[1]})


MESSAGES = st.one_of(
    chat_message(["system", "developer", "user"], {"content": CONTENTS}, {"name": JSON}),
    chat_message(
        ["assistant"],
        {"content": CONTENTS},
        {"tool_calls": st.none() | st.lists(CALLS, max_size=2), "refusal": JSON, "function_call": st.none()},
    ),
    chat_message(["assistant"], {"tool_calls": st.lists(CALLS, min_size=1, max_size=2)}, {"content": st.none()}),
    chat_message(["assistant"], {"function_call": FUNCTIONS}, {"content": st.none() | TEXTS, "tool_calls": st.none()}),
    chat_message(["assistant"], {"content": st.none(), "refusal": IDS}, {}),
    chat_message(["tool"], {"content": CONTENTS, "tool_call_id": IDS}, {"name": JSON}),
    chat_message(["function"], {"content": TEXTS, "name": IDS}, {"tool_call_id": JSON}),
)


def as_text(chat: list[dict[str, Any]]) -> str:
    """JSON text, in which 1, 1.0 and true differ, although they are equal in Python."""
    return json.dumps(chat, sort_keys=True)


def refusal(values: list[Any]) -> ChatFormatError | None:
    try:
        assert len(from_openai(values)) == len(values)
    except ChatFormatError as error:
        return error
    return None


FUNCTION_CALL = "the last function call"


def an_answer_is_late(chat: list[dict[str, Any]]) -> bool:
    """Whether something other than answers stands between a call and its answer."""
    asked: set[str] = set()
    open_calls: set[str] = set()
    for raw in chat:
        if raw["role"] in ("tool", "function"):
            if (raw["tool_call_id"] if raw["role"] == "tool" else FUNCTION_CALL) in asked - open_calls:
                return True
        else:
            open_calls = {call["id"] for call in raw.get("tool_calls") or ()}
            open_calls |= {FUNCTION_CALL} if raw.get("function_call") else set()
            asked |= open_calls
    return False


def accepted(raw: dict[str, Any]) -> dict[str, Any]:
    """The message as the API accepts it: no empty lists, and empty content where it does not take null."""
    raw = {key: value for key, value in {"content": None, **raw}.items() if (key, value) != ("tool_calls", [])}
    replaced = any(raw.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))
    return {**raw, "content": ""} if raw["content"] == [] or (raw["content"] is None and not replaced) else raw


@given(st.lists(MESSAGES, max_size=4))
def test_a_chat_survives_the_round_trip(chat: list[dict[str, Any]]) -> None:
    assume(not an_answer_is_late(chat))
    assert as_text(to_openai(from_openai(chat))) == as_text(list(map(accepted, chat)))


@given(st.lists(MESSAGES, max_size=4))
def test_a_converted_chat_is_read_the_same(chat: list[dict[str, Any]]) -> None:
    assume(not an_answer_is_late(chat))
    messages = from_openai(map(accepted, chat))
    assert from_openai(to_openai(messages)) == messages


@given(st.lists(JSON | MESSAGES.map(lambda raw: {**raw, "role": "user"}), max_size=3))
def test_any_other_value_is_refused_with_its_number(values: list[Any]) -> None:
    error = refusal(values)
    assert error is None or 1 <= error.number <= len(values)
    assert error is None or str(error) == f"message {error.number}: {error.reason}"


def test_a_call_and_its_answer_are_typed() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
    asked, answered = from_openai(
        [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "a cat", "tool_call_id": "c1", "name": "look"},
        ]
    )
    assert asked.metadata.tool_calls[0].model_dump() == {"id": "c1", "name": "look", "arguments": '{"x": 1}'}
    assert (asked.role, asked.content, asked.metadata.annotations) == ("assistant", "", {"openai": {"content": None}})
    result = answered.metadata.tool_results[0]
    assert (result.tool_call_id, result.name, result.result) == ("c1", "look", "a cat")
    assert (answered.role, answered.content) == ("tool", "a cat")


def test_a_function_message_answers_the_function_call_before_it() -> None:
    chat = [
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "a cat"},
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "a dog"},
    ]
    messages = from_openai(chat)
    called = [call.id for message in messages for call in message.metadata.tool_calls]
    answered = [result.tool_call_id for message in messages for result in message.metadata.tool_results]
    assert called == answered == ["function-call-1", "function-call-3"]


def test_a_developer_is_a_system_message_here() -> None:
    message = from_openai([{"role": "developer", "content": "Be brief."}])[0]
    assert (message.role, message.metadata.annotations) == ("system", {"openai": {"role": "developer"}})


def test_names_refusals_and_unknown_keys_are_annotations() -> None:
    raw = {"role": "assistant", "content": "No.", "name": "eve", "refusal": None, "logprobs": {"x": [1.5]}}
    kept = {"name": "eve", "refusal": None, "logprobs": {"x": [1.5]}}
    assert from_openai([raw])[0].metadata.annotations == {"openai": kept}


def test_annotations_of_the_application_are_not_written() -> None:
    message = NewMessage(role="user", content="hi", metadata={"annotations": {"source": "web", "openai": "mine"}})
    assert to_openai([message]) == [{"role": "user", "content": "hi"}]


def test_arguments_and_answers_that_are_objects_are_written_as_json_text() -> None:
    calls = [{"id": "c1", "name": "look", "arguments": {"x": "é"}}, {"id": "c2", "name": "look", "arguments": "{}"}]
    results = [{"tool_call_id": "c1", "result": {"seen": "é"}}, {"tool_call_id": "c2", "result": "a cat"}]
    chat = to_openai(
        [
            NewMessage(role="assistant", content="", metadata={"tool_calls": calls}),
            NewMessage(role="tool", content="both", metadata={"tool_results": results}),
        ]
    )
    assert [call["function"]["arguments"] for call in chat[0]["tool_calls"]] == ['{"x": "é"}', "{}"]
    assert chat[1:] == [
        {"role": "tool", "content": '{"seen": "é"}', "tool_call_id": "c1"},
        {"role": "tool", "content": "a cat", "tool_call_id": "c2"},
    ]
    assert len(from_openai(chat)) == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([], "a message must be an object, not a list"),
        ({"content": "x"}, "a message must have a string as its 'role', not null or missing"),
        (
            {"role": "bot", "content": "x"},
            "'role': 'bot' is called 'assistant' here",
        ),
        ({"role": 7, "content": "x"}, "a message must have a string as its 'role', not a number"),
        (
            {"role": "user"},
            "'content' must be a string or a list of blocks, not null or missing; an assistant's message",
        ),
        ({"role": "user", "content": {"text": "x"}}, "'content' must be a string or a list of blocks, not an object"),
        ({"role": "user", "content": ["x"]}, "content block 1 must be an object, not a string"),
        ({"role": "user", "content": [{}]}, "content block 1 must have a string as its 'type'"),
        ({"role": "user", "content": [{"type": ""}]}, "content block 1 must have a string as its 'type'"),
        ({"role": "user", "content": [{"type": "text"}]}, "content block 1 must have a string as its 'text'"),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "content block 1 must have a string or a dict as its 'image_url'",
        ),
        ({"role": "user", "content": "\ud800"}, "content: has a lone surrogate, which UTF-8 cannot encode"),
        ({"role": "user", "content": "x", "k": "\ud800"}, "k: has a lone surrogate"),
        ({"role": "assistant", "content": "", "tool_calls": {}}, "'tool_calls' must be a list, not an object"),
        (
            {"role": "assistant", "tool_calls": [{"id": 3, "function": {"name": "f"}}]},
            "tool call 1 must have a string as its 'id', not a number",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "'function' of tool call 1 must be an object"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]},
            "tool call 1 must have a string as its 'name'",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": [1]}}]},
            "tool call 1 must have a string or an object as its 'arguments', not a list",
        ),
        (
            {"role": "tool", "content": "x", "tool_call_id": 3},
            "a tool message must have a string as its 'tool_call_id'",
        ),
        ({"role": "tool", "content": 3, "tool_call_id": "c"}, "'content' must be a string or a list of blocks"),
        ({"role": "function", "content": "x"}, "a function message must have a string as its 'name'"),
        (
            {
                "role": "assistant",
                "function_call": {"name": "f"},
                "tool_calls": [{"id": "c", "function": {"name": "f"}}],
            },
            "a message must not have both 'tool_calls' and the older 'function_call'",
        ),
    ],
)
def test_a_message_in_another_format_is_refused_with_the_reason(raw: Any, reason: str) -> None:
    with pytest.raises(ChatFormatError) as refused:
        from_openai([{"role": "user", "content": "fine"}, raw])
    assert refused.value.number == 2
    assert refused.value.reason.startswith(reason)


def test_answers_follow_their_calls_although_messages_came_between() -> None:
    def asked(*ids: str) -> dict[str, Any]:
        calls = [{"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}} for id in ids]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    def answered(id: str) -> dict[str, Any]:
        return {"role": "tool", "content": f"answer {id}", "tool_call_id": id}

    hurry = {"role": "user", "content": "Are you there?"}
    again = {"role": "user", "content": "Hello?"}
    stray = answered("stray")
    chat = [asked("a", "b"), hurry, answered("a"), again, stray, answered("b"), asked("a"), answered("a")]
    assert to_openai(from_openai(chat)) == [
        asked("a", "b"),
        answered("a"),
        answered("b"),
        hurry,
        again,
        stray,
        asked("a"),
        answered("a"),
    ]


def test_the_result_of_a_call_is_the_content_of_a_message_without_one() -> None:
    def answered(result: Any, content: str = "") -> Any:
        metadata = MessageMetadata(tool_results=[ToolResult(tool_call_id="c1", result=result)])
        return to_openai([NewMessage(role="tool", content=content, metadata=metadata)])

    assert answered({"cats": 2}) == [{"role": "tool", "content": '{"cats": 2}', "tool_call_id": "c1"}]
    assert [answered(result)[0]["content"] for result in ("two", "", None, 0)] == ["two", "", "", "0"]
    assert answered({"cats": 2}, "two cats")[0]["content"] == "two cats"


@pytest.mark.parametrize(
    ("raw", "edit", "shown"),
    [
        ({"role": "assistant", "content": None, "refusal": "No."}, {"content": "Yes."}, {"content": "Yes."}),
        ({"role": "developer", "content": "Be brief."}, {"role": "user"}, {"role": "user"}),
        ({"role": "developer", "content": "Be brief."}, {"content": "Be kind."}, {"content": "Be kind."}),
    ],
)
def test_an_edit_is_not_undone_by_the_annotation(raw: Any, edit: Any, shown: Any) -> None:
    edited = from_openai([raw])[0].model_copy(update=edit)
    assert to_openai([edited]) == [{**raw, **shown}]


class Answer(BaseModel):
    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


def test_objects_of_a_client_library_are_read_as_json() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said, called = from_openai([Answer(content="hi"), Answer(tool_calls=[call])])
    assert said == NewMessage(role="assistant", content="hi")
    assert to_openai([called]) == [{"role": "assistant", "content": None, "tool_calls": [call]}]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (NewMessage(role="user", content="x"), "a message must be an object, not a Python NewMessage"),
        (object(), "a message must be an object, not a Python object"),
        ({"role": "user", "content": b"x"}, "'content' must be a string or a list of blocks, not a Python bytes"),
    ],
)
def test_a_value_that_is_not_json_is_named_by_its_type(wrong: Any, reason: str) -> None:
    error = refusal([wrong])
    assert error is not None
    assert error.reason == reason


@pytest.mark.parametrize("chat", [None, 5, "hello", {"role": "user", "content": "x"}])
def test_a_chat_is_a_list(chat: Any) -> None:
    with pytest.raises(ValidationError, match="the chat must be a list"):
        from_openai(chat)
