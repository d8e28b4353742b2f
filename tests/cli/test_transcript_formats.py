"""Conversations of other programs: each format is recognised, converted, and what is left out is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity.cli.transcript import Transcript, TranscriptError, parse_transcript, parse_transcripts

from .conftest import STORE, CommandLine

USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
CHAT = [USER, ANSWER]


def read(document: Any, conversation: int | None = None) -> Transcript:
    return parse_transcript(json.dumps(document).encode(), "file", conversation)


def read_lines(*lines: Any, conversation: int | None = None) -> Transcript:
    return parse_transcript("\n".join(map(json.dumps, lines)).encode(), "file", conversation)


def words(transcript: Transcript) -> list[tuple[str, str]]:
    """The role and the words of each message."""
    said: list[tuple[str, str]] = []
    for message in transcript.messages:
        blocks = message.content if isinstance(message.content, list) else [{"text": message.content}]
        said.append((message.role, "".join(str(block.get("text", "")) for block in blocks)))
    return said


def calls(transcript: Transcript) -> list[tuple[str, str, Any]]:
    """The calls with their arguments, and the results, by their ids."""
    found: list[tuple[str, str, Any]] = []
    for message in transcript.messages:
        found += [("call", call.id, call.arguments) for call in message.metadata.tool_calls]
        found += [("result", result.tool_call_id, result.result) for result in message.metadata.tool_results]
    return found


def node(id: str, parent: str | None, role: str, *parts: str, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    return {"id": id, "parent": parent, "message": {"id": id, "author": {"role": role}, "content": content, **more}}


CHATGPT = {
    "title": "A chat",
    "current_node": "d",
    "mapping": {
        "root": {"id": "root", "parent": None, "message": None},
        "a": node("a", "root", "user", "hi"),
        "b": node("b", "a", "assistant", "another answer"),
        "c": node("c", "a", "assistant", "print(1)", recipient="python"),
        "t": node("t", "c", "tool", "1"),
        "d": node("d", "t", "assistant", "hello"),
    },
}
CLAUDE_EXPORT = {
    "uuid": "x",
    "name": "A chat",
    "current_leaf_message_uuid": "b",
    "chat_messages": [
        {"uuid": "a", "sender": "human", "text": "hi", "content": [], "parent_message_uuid": "0"},
        {"uuid": "old", "sender": "assistant", "text": "another answer", "parent_message_uuid": "a"},
        {
            "uuid": "b",
            "sender": "assistant",
            "text": "",
            "parent_message_uuid": "a",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "t", "name": "look", "input": {}, "message": "Looking"},
                {"type": "tool_result", "tool_use_id": "t", "content": "a cat", "name": "look"},
                {"type": "text", "text": "hello", "citations": []},
            ],
        },
    ],
}
OPEN_WEBUI = {
    "chat": {
        "title": "A chat",
        "history": {
            "currentId": "b",
            "messages": {
                "a": {"id": "a", "parentId": None, "role": "user", "content": "hi"},
                "x": {"id": "x", "parentId": "a", "role": "assistant", "content": "another answer"},
                "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "hello", "model": "m"},
            },
        },
    }
}
CLAUDE_CODE = [
    {"type": "file-history-snapshot", "messageId": "0"},
    {"type": "user", "uuid": "a", "parentUuid": None, "sessionId": "s", "message": USER},
    {
        "type": "user",
        "uuid": "s",
        "parentUuid": None,
        "isSidechain": True,
        "message": {"role": "user", "content": "side"},
    },
    {
        "type": "assistant",
        "uuid": "x",
        "parentUuid": "a",
        "message": {"role": "assistant", "content": "another answer"},
    },
    *(
        {
            "type": "assistant",
            "uuid": uuid,
            "parentUuid": parent,
            "message": {"id": "m", "role": "assistant", "content": [block]},
        }
        for uuid, parent, block in (
            ("b", "a", {"type": "text", "text": "wait"}),
            ("c", "b", {"type": "tool_use", "id": "t", "name": "look", "input": {}}),
        )
    ),
    {
        "type": "user",
        "uuid": "d",
        "parentUuid": "c",
        "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "a cat"}]},
    },
    {"type": "assistant", "uuid": "e", "parentUuid": "d", "message": ANSWER},
]
LANGCHAIN = [
    {"type": "human", "data": {"content": "hi", "type": "human"}},
    {"type": "ai", "data": {"content": "", "tool_calls": [{"name": "look", "args": {"x": 1}, "id": "t"}]}},
    {"type": "tool", "data": {"content": "a cat", "tool_call_id": "t"}},
    {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "AIMessage"], "kwargs": {"content": "hello"}},
]
UI_V4 = [
    {"id": "1", "role": "user", "content": "hi"},
    {
        "id": "2",
        "role": "assistant",
        "content": "hello",
        "toolInvocations": [
            {"state": "result", "toolCallId": "t", "toolName": "look", "args": {"x": 1}, "result": "a cat"}
        ],
    },
]
UI_V5 = [
    {"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]},
    {"id": "2", "role": "assistant", "parts": [{"type": "text", "text": "hello"}]},
]
SHAREGPT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
CONVERSE = [{"role": "user", "content": [{"text": "hi"}]}, {"role": "assistant", "content": [{"text": "hello"}]}]
GEMINI = [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "hello"}]}]
RESPONSES = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello", "annotations": []}]},
]
ANTHROPIC = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [{"type": "text", "text": "hello"}, {"type": "redacted_thinking", "data": "E"}]},
]
EXCHANGE = [("user", "hi"), ("assistant", "hello")]
WITH_TOOL = [("user", "hi"), ("assistant", ""), ("tool", "a cat"), ("assistant", "hello")]


@pytest.mark.parametrize(
    "document",
    [
        *({key: CHAT} for key in ("messages", "traj", "history", "conversation")),
        {"conversations": SHAREGPT},
        [{"id": "a", "conversations": SHAREGPT}],
        SHAREGPT,
        CONVERSE,
        {"messages": CONVERSE, "modelId": "m"},
        GEMINI,
        {"contents": GEMINI},
        RESPONSES,
        {"object": "list", "data": RESPONSES},
        {"object": "response", "input": "hi", "output": RESPONSES[1:], "model": "m"},
        ANTHROPIC,
        {"model": "m", "messages": ANTHROPIC},
        UI_V5,
        OPEN_WEBUI,
        [OPEN_WEBUI],
    ],
)
def test_every_format_is_recognised(document: Any) -> None:
    assert words(read(document)) == EXCHANGE
    assert read(document).ids == read(document).ids
    assert len(set(read(document).ids)) == 2


def test_a_completion_is_its_first_choice() -> None:
    choices = [{"index": 0, "message": ANSWER}, {"index": 1, "message": {"role": "assistant", "content": "hey"}}]
    completion = read({"object": "chat.completion", "model": "m", "choices": choices})
    assert words(completion) == [("assistant", "hello")]
    assert completion.request == {"object": "chat.completion", "model": "m"}
    assert completion.notes == ["1 other choices are left out"]


def test_system_prompts_beside_the_messages_are_messages() -> None:
    assert words(read({"system": "Be brief.", "messages": ANTHROPIC}))[0] == ("system", "Be brief.")
    assert (
        words(read({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": GEMINI}))[0][1] == "Be brief."
    )
    assert words(read({"system": "Be brief.", "conversations": SHAREGPT}))[0] == ("system", "Be brief.")


def test_an_export_of_chatgpt_is_its_current_branch_with_calls_of_its_tools() -> None:
    transcript = read([CHATGPT])
    assert words(transcript) == [("user", "hi"), ("assistant", ""), ("tool", "1"), ("assistant", "hello")]
    assert calls(transcript) == [("call", "c", "print(1)"), ("result", "c", "1")]
    assert transcript.notes == ["1 messages of other branches are left out"]
    assert transcript.request["title"] == "A chat"


def test_an_export_of_claude_is_its_current_branch() -> None:
    transcript = read([CLAUDE_EXPORT])
    assert [role for role, _ in words(transcript)] == ["user", "assistant", "tool", "assistant"]
    assert calls(transcript) == [("call", "t", {}), ("result", "t", "a cat")]
    assert transcript.notes[0] == "1 messages of other branches are left out"


def test_a_log_of_claude_code_is_its_last_branch_with_whole_answers() -> None:
    transcript = read_lines(*CLAUDE_CODE)
    assert [role for role, _ in words(transcript)] == ["user", "assistant", "tool", "assistant"]
    assert words(transcript)[1] == ("assistant", "wait")
    assert calls(transcript) == [("call", "t", {}), ("result", "t", "a cat")]
    assert transcript.notes == [
        "1 messages of side conversations are left out",
        "1 messages of other branches are left out",
    ]


def test_thinking_that_an_export_or_a_dump_does_not_hold_whole_is_told() -> None:
    assert "1 blocks of thinking are left out" in read([CLAUDE_EXPORT]).notes
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    answer = {"type": "ai", "data": {"content": [thinking, {"type": "text", "text": "hello"}], "type": "ai"}}
    transcript = read([{"type": "human", "data": {"content": "hi", "type": "human"}}, answer])
    assert transcript.notes == ["the signatures of thinking in 1 messages are left out"]
    assert transcript.messages[1].metadata.annotations == {"openai": {"reasoning_content": "hm"}}


def test_dumps_of_langchain_are_a_chat() -> None:
    assert words(read(LANGCHAIN)) == WITH_TOOL
    assert calls(read(LANGCHAIN)) == [("call", "t", '{"x": 1}'), ("result", "t", "a cat")]


def test_ui_messages_of_the_older_sdk_have_calls_and_results() -> None:
    transcript = read({"messages": UI_V4})
    assert calls(transcript) == [("call", "t", {"x": 1}), ("result", "t", "a cat")]
    assert words(transcript)[1] == ("assistant", "hello")


def test_function_calls_of_sharegpt_are_calls() -> None:
    called = [
        {"from": "human", "value": "hi"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {"x": 1}}'},
        {"from": "observation", "value": "a cat"},
        {"from": "gpt", "value": "hello"},
    ]
    transcript = read({"conversations": called})
    assert words(transcript) == WITH_TOOL
    assert transcript.ids == read({"conversations": called}).ids


def test_one_of_several_conversations_is_chosen() -> None:
    lines = [{"messages": [USER]}, {"messages": CHAT, "weight": 1}]
    with pytest.raises(TranscriptError, match="it has several conversations; choose one with --conversation 1 to 2"):
        read_lines(*lines)
    assert words(read_lines(*lines, conversation=2)) == EXCHANGE
    assert words(read(lines, 1)) == EXCHANGE[:1]
    with pytest.raises(TranscriptError, match="it has no conversation 3; the last is 2"):
        read_lines(*lines, conversation=3)
    assert len(parse_transcripts("\n".join(map(json.dumps, lines)).encode(), "file")) == 2


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([{"messages": [USER]}, {"messages": [USER, {"role": "user"}]}], "line 2, message 2: 'content' must be"),
        ([{"text": "hi"}, {"text": "hello"}], "line 1: a message must have a string as its 'role'"),
        ([{"from": "alien", "value": "hi"}], "message 1: 'from' is not that of a ShareGPT conversation"),
        ([{"id": 1, "session_id": "s", "metadata": {}, "token_count": 1}], "it seems to be messages of this project"),
        ([{"chat": {"title": "x"}}], "'history.messages' is missing in an export of Open WebUI"),
        ([USER, {"role": "assistant", "content": [{"type": "tool_use"}]}], "line 2: content block 1, a tool_use, must"),
    ],
)
def test_what_cannot_be_read_is_refused_with_format_line_and_key(lines: list[Any], reason: str) -> None:
    with pytest.raises(TranscriptError) as refused:
        parse_transcripts("\n".join(map(json.dumps, lines)).encode(), "file")
    assert refused.value.message.startswith(f"file: {reason}")


def test_all_conversations_of_a_file_become_sessions_and_only_once(command: CommandLine) -> None:
    (command.folder / "train.jsonl").write_text("\n".join(json.dumps({"messages": chat}) for chat in ([USER], CHAT)))
    first = command("import", "train.jsonl", STORE, "--json")
    assert [(session["found"], session["added"]) for session in first.json["sessions"]] == [(0, 1), (1, 1)]
    second = command("import", "train.jsonl", STORE, "--json")
    assert [session["added"] for session in second.json["sessions"]] == [0, 0]


def test_what_an_import_leaves_out_is_told(command: CommandLine) -> None:
    done = command("import", "-", STORE, stdin=json.dumps([CHATGPT]).encode())
    assert done.code == 0
    assert done.err == "note: 1 messages of other branches are left out\n"
    again = command(
        "demo", "--url", STORE, "--transcript", "-", "--conversation", "1", stdin=json.dumps([CHATGPT]).encode()
    )
    assert again.err == done.err
    assert again.rows[-1][1].endswith("--transcript - --conversation 1")


KEYS = [
    "role",
    "content",
    "messages",
    "mapping",
    "message",
    "chat_messages",
    "chat",
    "history",
    "conversations",
    "from",
]
KEYS += ["value", "type", "data", "parts", "choices", "output", "contents", "uuid", "parent", "text", "toolInvocations"]
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["user", "human", "text", "tool-invocation", "ai", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(GARBAGE)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        transcripts = parse_transcripts(json.dumps(document).encode(), "file")
    except TranscriptError:
        return
    assert all(transcript.messages for transcript in transcripts)
