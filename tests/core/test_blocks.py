"""The shared reader of blocks: what each provider's blocks consist of."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity import NewMessage
from session_continuity.blocks.reader import (
    Call,
    Media,
    Other,
    Part,
    Reasoning,
    Result,
    Text,
    calls_of,
    parts_of,
    parts_of_block,
    parts_of_value,
    results_of,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480) + bytes(16)).decode()
DATA_URL = f"data:image/png;base64,{PNG}"
P = ("content", 0)


def parts(*blocks: dict[str, Any]) -> list[Part]:
    return list(parts_of(NewMessage(role="user", content=list(blocks))))


IMAGE = Media("image", "image/png", data=PNG)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "hi"}, Text("hi")),
        ({"type": "output_text", "text": "hi", "annotations": []}, Text("hi")),
        ({"type": "refusal", "refusal": "no"}, Text("no", refusal=True)),
        ({"type": "image_url", "image_url": DATA_URL}, IMAGE),
        (
            {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
            Media("image", url="https://x", detail="low"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            Media("audio", "audio/mp3", "AAAA"),
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            Media("file", "application/pdf", "AAAA", name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_id": "f1"}}, Media("file", file_id="f1")),
        (
            {"type": "input_image", "image_url": DATA_URL, "detail": "high"},
            Media("image", "image/png", PNG, detail="high"),
        ),
        ({"type": "input_file", "file_url": "https://x"}, Media("file", url="https://x")),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, Call("c", "f", "{}")),
        ({"type": "computer_call", "call_id": "c", "action": {"x": 1}}, Call("c", "computer_call", {"x": 1})),
        ({"type": "function_call_output", "call_id": "c", "output": "ok"}, Result("c", "ok")),
        (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "E"},
            Reasoning("hm", "E"),
        ),
        ({"type": "web_search_call", "id": "w"}, Other({"type": "web_search_call", "id": "w"})),
        ({"type": "image_generation_call", "result": "AAAA"}, Media("image", "image/png", "AAAA")),
        ({"type": "message", "content": [{"type": "output_text", "text": "hi"}]}, Text("hi")),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}, Call("c", "f", {"x": 1})),
        (
            {"type": "tool_result", "tool_use_id": "c", "content": "ok", "is_error": True},
            Result("c", "ok", is_error=True),
        ),
        ({"type": "thinking", "thinking": "hm", "signature": "S"}, Reasoning("hm", "S")),
        ({"type": "redacted_thinking", "data": "D"}, Reasoning("", "D")),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, IMAGE),
        ({"type": "image", "source_type": "base64", "mime_type": "image/png", "data": PNG}, IMAGE),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x"}, "title": "T"},
            Media("file", "application/pdf", url="https://x", name="T"),
        ),
        ({"type": "document", "source": {"type": "text", "data": "plain"}}, Text("plain")),
        ({"type": "bedrock:toolUse", "toolUse": {"toolUseId": "c", "name": "f", "input": {}}}, Call("c", "f", {})),
        (
            {"type": "bedrock:toolResult", "toolResult": {"toolUseId": "c", "content": [], "status": "error"}},
            Result("c", [], is_error=True),
        ),
        ({"type": "bedrock:image", "image": {"format": "png", "source": {"bytes": {"$bytes": PNG}}}}, IMAGE),
        (
            {
                "type": "bedrock:reasoningContent",
                "reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}},
            },
            Reasoning("hm", "S"),
        ),
        ({"type": "gemini:inline_data", "inlineData": {"mimeType": "image/png", "data": PNG}}, IMAGE),
        ({"type": "gemini:text", "text": "hm", "thought": True}, Reasoning("hm")),
        (
            {"type": "gemini:function_response", "function_response": {"name": "f", "response": {"error": "no"}}},
            Result("", "no", "f", is_error=True),
        ),
        ({"type": "text"}, Other({"type": "text"})),
        ({"type": "tool_use", "id": 3}, Other({"type": "tool_use", "id": 3})),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_a_block_is_the_part_that_it_means(block: dict[str, Any], part: Part) -> None:
    assert list(parts_of_block(block)) == [part]


def test_a_tool_of_a_ui_message_is_a_call_and_its_result() -> None:
    block = {"type": "tool-f", "toolCallId": "c", "state": "output-available", "input": {}, "output": [1]}
    assert parts(block) == [Call("c", "f", {}, P), Result("c", [1], "f", False, P)]


def test_typed_calls_and_results_have_their_place_in_the_metadata() -> None:
    asked = NewMessage(role="assistant", content="Wait.", metadata={"tool_calls": [{"id": "c", "name": "f"}]})
    assert list(parts_of(asked)) == [Text("Wait."), Call("c", "f", "", ("tool_calls", 0))]
    answered = NewMessage(role="tool", content="ok", metadata={"tool_results": [{"tool_call_id": "c", "result": "ok"}]})
    assert list(parts_of(answered)) == [Result("c", "ok", place=("tool_results", 0))]


def test_calls_and_results_are_found_typed_and_in_blocks() -> None:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    message = NewMessage(role="assistant", content=[block], metadata={"tool_calls": [{"id": "b", "name": "g"}]})
    assert [call.id for call in calls_of(message)] == ["a", "b"]
    assert results_of(message) == calls_of(NewMessage(role="user", content="hi")) == []


def test_what_a_chat_sends_beside_its_content_is_read() -> None:
    kept = {"reasoning_content": "hm", "thinking_blocks": [{"thinking": "so", "signature": "S"}], "refusal": "no"}
    message = NewMessage(role="assistant", content="", metadata={"annotations": {"openai": kept}})
    at = ("annotations", 0)
    assert list(parts_of(message)) == [Reasoning("hm", "", at), Reasoning("so", "S", at), Text("no", at, True)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ok", [Text("ok")]),
        ("", []),
        (None, []),
        ([], []),
        ({"x": 1}, [Text('{"x":1}')]),
        ([{"type": "inn", "name": "Sun"}], [Text('[{"type":"inn","name":"Sun"}]')]),
        ([{"text": "a"}, {"json": [1]}], [Text("a"), Text("[1]")]),
        ([{"text": "a", "score": 1}], [Text('[{"text":"a","score":1}]')]),
        ([{"type": "text", "text": "a"}, {"type": "link", "to": "b"}], [Text("a"), Text('{"type":"link","to":"b"}')]),
        ([{"type": "image", "data": PNG, "mimeType": "image/png"}], [IMAGE]),
    ],
)
def test_a_result_is_read_as_a_model_reads_it(value: Any, expected: list[Part]) -> None:
    assert list(parts_of_value(value)) == expected


def test_the_size_of_an_image_is_read_from_its_header() -> None:
    assert IMAGE.size() == (640, 480)
    assert IMAGE.data_bytes() == len(base64.b64decode(PNG))
    assert [Media("image", data=data).size() for data in ("", "####", "AAAA")] == [None, None, None]
    assert Media("file", data=PNG).size() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "source", "content", "data", "image", "file", "id", "input", "toolUse"]),
            inner | st.sampled_from(["base64", "url", "image", "document", "tool_use", "reasoning", "bedrock:image"]),
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["image_url", "input", "result", "summary", "thinking", "image"]), JSON), JSON)
def test_nothing_that_a_block_may_hold_raises(block: dict[str, Any], value: Any) -> None:
    kinds = ["text", "image_url", "input_audio", "file", "message", "reasoning", "thinking", "image", "document"]
    kinds += ["tool_use", "tool_result", "search_result", "bedrock:image", "gemini:inline_data", "tool-x", "x_call"]
    for kind in kinds:
        found = list(parts_of_block({"type": kind, "source": value, "content": value, "file": value, **block}))
        assert all(json.dumps(part.text) for part in found if isinstance(part, Text))
    assert all(isinstance(part, Text | Media | Call | Result | Reasoning) for part in parts_of_value(value))
