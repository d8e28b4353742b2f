"""Reading a transcript: its three forms, and the error of each malformed one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from session_continuity.cli.transcript import Transcript, TranscriptError, parse_transcript

from .malformed import MALFORMED, ONE, USER

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "And here?"}, {"type": "image_url", "image_url": "x"}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": ""}}]},
    {"role": "tool", "content": "a\u2028cat", "tool_call_id": "c"},
]


def read(text: str | bytes) -> Transcript:
    return parse_transcript(text if isinstance(text, bytes) else text.encode(), "chat")


def lines(chat: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(raw) for raw in chat)


def refused(text: str | bytes) -> str:
    with pytest.raises(TranscriptError) as error:
        read(text)
    return error.value.message


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CHAT),
        json.dumps(CHAT, indent=2),
        json.dumps({"messages": CHAT}),
        json.dumps({"model": "m", "messages": CHAT}, indent=2),
        lines(CHAT),
        lines(CHAT).replace("\n", "\r\n\r\n") + "\n",
        "\ufeff" + lines(CHAT),
        "\n".join(json.dumps(raw, ensure_ascii=False) for raw in CHAT),
    ],
    ids=["array", "indented array", "object", "indented object", "lines", "windows lines", "byte order mark", "raw"],
)
def test_every_form_gives_the_same_messages(text: str) -> None:
    assert read(text).messages == read(json.dumps(CHAT)).messages
    assert [message.role for message in read(text).messages] == ["system", "user", "assistant", "tool"]


def test_a_single_message_is_a_transcript() -> None:
    assert [message.content for message in read(ONE).messages] == [USER["content"]]


def test_the_rest_of_the_document_is_kept() -> None:
    assert read(json.dumps({"model": "m", "messages": CHAT, "tools": [1]})).request == {"model": "m", "tools": [1]}


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), min_size=1, max_size=8), st.data())
def test_an_id_depends_on_its_message_and_all_before_it(texts: list[str], data: st.DataObject) -> None:
    chat = [{"role": "user", "content": text} for text in texts]
    ids = read(json.dumps(chat)).ids
    assert len(set(ids)) == len(ids)
    cut = data.draw(st.integers(1, len(chat)))
    assert read(lines(chat[:cut])).ids == ids[:cut]
    changed = [{"role": "user", "content": f"{texts[0]}!"}, *chat[1:]]
    assert set(read(json.dumps(changed)).ids).isdisjoint(ids)


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_transcript_is_refused_with_place_and_reason(text: str | bytes, reason: str) -> None:
    assert refused(text).startswith(f"chat: {reason}")


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        messages = read(data).messages
    except TranscriptError:
        return
    assert messages
