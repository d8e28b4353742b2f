"""Generated conversations in the formats of providers: the same talk with users, tools, reasoning, images and files, as
each provider writes it, with what real ones are damaged by mixed in.

`conversations(format)` is a Hypothesis strategy of requests as `to_…` of the format returns them. A conversation is
valid for the provider unless `damage` is True.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from .chat_damages import DAMAGES

__all__ = ["conversations"]

_PNG_BYTES = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 64, 48) + bytes(8)
_PNG = base64.b64encode(_PNG_BYTES).decode()
_PDF_BYTES = b"%PDF-1.4 " + bytes(range(60))
_PDF = base64.b64encode(_PDF_BYTES).decode()
_SIGNATURE = base64.b64encode(b"signature").decode()

_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12).filter(str.strip)
_NAMES = st.sampled_from(["weather", "search_web", "note-taker"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0]) | _WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_WORDS, inner, max_size=2),
    max_leaves=4,
)
_ARGUMENTS = st.dictionaries(_WORDS, _VALUES, max_size=2)


@dataclass(frozen=True)
class Step:
    """What an assistant puts out at once: reasoning, words before and after its calls, calls with their answers."""

    reasoning: str | None
    words: list[str]
    calls: list[tuple[str, dict[str, Any]]]
    answers: list[tuple[str, bool, bool]]
    """The words of each answer, whether it is an error, and whether an image is in it."""
    after: str | None
    is_rich: bool
    """Whether the further keys of the format are there: citations, cache marks, states."""


@dataclass(frozen=True)
class Turn:
    """What a user says, with an image and a file, and the steps of the answer."""

    words: list[str]
    image: bool
    file: bool
    steps: list[Step]


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    calls = draw(st.lists(st.tuples(_NAMES, _ARGUMENTS), max_size=3))
    answer = st.tuples(_WORDS, st.booleans(), st.booleans())
    return Step(
        reasoning=draw(st.none() | _WORDS),
        words=draw(st.lists(_WORDS, min_size=0 if calls else 1, max_size=2)),
        calls=calls,
        answers=[draw(answer) for _ in calls],
        after=draw(st.none() | _WORDS) if calls else None,
        is_rich=draw(st.booleans()),
    )


@st.composite
def _turns(draw: st.DrawFn) -> Turn:
    called = draw(st.lists(_steps().filter(lambda step: bool(step.calls)), max_size=2))
    last = draw(_steps().filter(lambda step: not step.calls))
    return Turn(
        draw(st.lists(_WORDS, min_size=1, max_size=2)), draw(st.booleans()), draw(st.booleans()), [*called, last]
    )


@st.composite
def conversations(draw: st.DrawFn, format: str, *, damage: bool = False) -> Any:
    """Requests in a format; with `damage`, as broken as real ones are."""
    system = draw(st.none() | _WORDS)
    request = _FORMATS[format](system, draw(st.lists(_turns(), min_size=1, max_size=3)))
    if damage:
        for _ in range(draw(st.integers(1, 5))):
            draw(st.sampled_from(DAMAGES))(request, draw(st.integers(0, 100)))
    return request


def _ids(turns: list[Turn], prefix: str) -> Iterator[tuple[Turn, list[tuple[Step, list[str]]]]]:
    """The turns with the ids of the calls of each of their steps."""
    number = 0
    for turn in turns:
        steps: list[tuple[Step, list[str]]] = []
        for step in turn.steps:
            steps.append((step, [f"{prefix}{number + place}" for place in range(len(step.calls))]))
            number += len(step.calls)
        yield turn, steps


# Each provider


def _openai_chat(system: str | None, turns: list[Turn]) -> list[dict[str, Any]]:
    chat: list[dict[str, Any]] = [{"role": "developer", "content": system}] if system else []
    for turn, steps in _ids(turns, "call_"):
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in turn.words]
        if turn.image:
            blocks.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}", "detail": "low"}})
        if turn.file:
            file = {"filename": "r.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}
            blocks.append({"type": "file", "file": file})
        is_plain = len(blocks) == 1
        chat.append({"role": "user", "content": turn.words[0] if is_plain else blocks})
        for step, ids in steps:
            message: dict[str, Any] = {"role": "assistant", "content": "\n".join(step.words) or None}
            if step.is_rich:
                message["name"] = "helper"
            if ids:
                message["tool_calls"] = [
                    {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                    for id, (name, arguments) in zip(ids, step.calls, strict=True)
                ]
            chat.append(message)
            for id, (text, _, as_blocks) in zip(ids, step.answers, strict=True):
                content = [{"type": "text", "text": text}] if as_blocks else text
                chat.append({"role": "tool", "tool_call_id": id, "content": content})
    return chat


def _openai_responses(system: str | None, turns: list[Turn]) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for number, (turn, steps) in enumerate(_ids(turns, "call_")):
        parts: list[dict[str, Any]] = [{"type": "input_text", "text": text} for text in turn.words]
        if turn.image:
            parts.append({"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "auto"})
        if turn.file:
            parts.append(
                {"type": "input_file", "filename": "r.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}
            )
        items.append({"role": "user", "content": turn.words[0] if len(parts) == 1 else parts})
        for place, (step, ids) in enumerate(steps):
            items += _responses_step(step, ids, f"{number}_{place}")
    return {"input": items, **({"instructions": system} if system else {})}


def _responses_step(step: Step, ids: list[str], number: str) -> Iterator[dict[str, Any]]:
    if step.reasoning and (step.words or ids):
        summary = [{"type": "summary_text", "text": step.reasoning}]
        yield {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": "gAAA"}
    if step.words and step.is_rich:
        citation = {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://e.com", "title": "t"}
        parts: list[dict[str, Any]] = [
            {"type": "output_text", "text": text, "annotations": [citation]} for text in step.words
        ]
        about = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        yield {**about, "content": [*parts, {"type": "refusal", "refusal": "No more."}]}
    elif step.words:
        yield from ({"role": "assistant", "content": text} for text in step.words)
    for id, (name, arguments) in zip(ids, step.calls, strict=True):
        state = {"id": f"fc_{id}", "status": "completed"} if step.is_rich else {}
        yield {"type": "function_call", "call_id": id, "name": name, "arguments": json.dumps(arguments), **state}
    for id, (text, is_error, has_image) in zip(ids, step.answers, strict=True):
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "auto"}
        output: Any = [{"type": "input_text", "text": text}, image] if has_image else text
        status = {"status": "incomplete" if is_error else "completed"} if step.is_rich else {}
        yield {"type": "function_call_output", "call_id": id, "output": output, **status}


def _anthropic(system: str | None, turns: list[Turn]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    source = {"type": "base64", "media_type": "image/png", "data": _PNG}
    for turn, steps in _ids(turns, "toolu_"):
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in turn.words]
        if turn.image:
            blocks.append({"type": "image", "source": source})
        if turn.file:
            pdf = {"type": "base64", "media_type": "application/pdf", "data": _PDF}
            blocks.append({"type": "document", "source": pdf, "title": "R", "citations": {"enabled": True}})
        messages.append({"role": "user", "content": turn.words[0] if len(blocks) == 1 else blocks})
        for step, ids in steps:
            messages.append({"role": "assistant", "content": list(_anthropic_step(step, ids))})
            results: list[dict[str, Any]] = []
            for id, (text, is_error, has_image) in zip(ids, step.answers, strict=True):
                image = {"type": "image", "source": source}
                content: Any = [{"type": "text", "text": text}, image] if has_image else text
                error = {"is_error": True} if is_error else {"is_error": False} if step.is_rich else {}
                results.append({"type": "tool_result", "tool_use_id": id, "content": content, **error})
            if results:
                more = [{"type": "text", "text": "go on"}] if step.is_rich else []
                messages.append({"role": "user", "content": [*results, *more]})
    cached = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    return {"messages": messages, **({"system": cached} if system else {})}


def _anthropic_step(step: Step, ids: list[str]) -> Iterator[dict[str, Any]]:
    mark = {"cache_control": {"type": "ephemeral"}} if step.is_rich else {}
    if step.reasoning:
        yield {"type": "thinking", "thinking": step.reasoning, "signature": _SIGNATURE}
        if step.is_rich:
            yield {"type": "redacted_thinking", "data": "ENC"}
    yield from ({"type": "text", "text": text} for text in step.words)
    for id, (name, arguments) in zip(ids, step.calls, strict=True):
        yield {"type": "tool_use", "id": id, "name": name, "input": arguments, **mark}
    if step.after:
        yield {"type": "text", "text": step.after, **mark}


def _bedrock_converse(system: str | None, turns: list[Turn]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    image = {"image": {"format": "png", "source": {"bytes": _PNG_BYTES}}}
    for turn, steps in _ids(turns, "tooluse_"):
        blocks: list[dict[str, Any]] = [{"text": text} for text in turn.words]
        if turn.image:
            blocks.append(image)
        if turn.file:
            blocks.append({"document": {"format": "pdf", "name": "Report", "source": {"bytes": _PDF_BYTES}}})
        messages.append({"role": "user", "content": blocks})
        for step, ids in steps:
            messages.append({"role": "assistant", "content": list(_converse_step(step, ids))})
            results: list[dict[str, Any]] = []
            for id, (text, is_error, has_image) in zip(ids, step.answers, strict=True):
                content: list[Any] = [{"json": {"said": text}}, image] if has_image else [{"text": text}]
                status = {"status": "error"} if is_error else {"status": "success"} if step.is_rich else {}
                results.append({"toolResult": {"toolUseId": id, "content": content, **status}})
            if results:
                messages.append({"role": "user", "content": [*results, *([{"text": "go on"}] if step.is_rich else [])]})
    return {
        "messages": messages,
        **({"system": [{"text": system}, {"cachePoint": {"type": "default"}}]} if system else {}),
    }


def _converse_step(step: Step, ids: list[str]) -> Iterator[dict[str, Any]]:
    if step.reasoning:
        yield {"reasoningContent": {"reasoningText": {"text": step.reasoning, "signature": _SIGNATURE}}}
        if step.is_rich:
            yield {"reasoningContent": {"redactedContent": b"\x00\xff"}}
    yield from ({"text": text} for text in step.words)
    for id, (name, arguments) in zip(ids, step.calls, strict=True):
        yield {"toolUse": {"toolUseId": id, "name": name, "input": arguments}}
    if step.after:
        yield {"text": step.after}


def _gemini(system: str | None, turns: list[Turn]) -> dict[str, Any]:
    contents: list[dict[str, Any]] = []
    for turn, steps in _ids(turns, "id-"):
        parts: list[dict[str, Any]] = [{"text": text} for text in turn.words]
        if turn.image:
            parts.append({"inline_data": {"mime_type": "image/png", "data": _PNG}})
        if turn.file:
            parts.append({"file_data": {"file_uri": "https://e.com/v.mp4", "mime_type": "video/mp4"}})
        contents.append({"role": "user", "parts": parts})
        for step, ids in steps:
            contents.append({"role": "model", "parts": list(_gemini_step(step, ids))})
            answers: list[dict[str, Any]] = []
            for id, (name, _), (text, is_error, _) in zip(ids, step.calls, step.answers, strict=True):
                named = {"id": id, "name": name} if step.is_rich else {"name": name}
                response = {"error" if is_error else "output": text}
                answers.append({"function_response": {**named, "response": response}})
            if answers:
                contents.append({"role": "user", "parts": answers})
    return {"contents": contents, **({"system_instruction": system} if system else {})}


def _gemini_step(step: Step, ids: list[str]) -> Iterator[dict[str, Any]]:
    signed = {"thought_signature": _SIGNATURE} if step.is_rich else {}
    if step.reasoning:
        yield {"text": step.reasoning, "thought": True}
    yield from ({"text": text, **signed} for text in step.words)
    for id, (name, arguments) in zip(ids, step.calls, strict=True):
        named = {"id": id, "name": name} if step.is_rich else {"name": name}
        yield {"function_call": {**named, "args": arguments}, **signed}
    if step.after:
        yield {"text": step.after}


def _ui_messages(system: str | None, turns: list[Turn]) -> list[dict[str, Any]]:
    chat: list[dict[str, Any]] = []
    if system:
        chat.append({"id": "s", "role": "system", "parts": [{"type": "text", "text": system}]})
    for number, (turn, steps) in enumerate(_ids(turns, "call-")):
        parts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in turn.words]
        if turn.image:
            parts.append({"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{_PNG}"})
        chat.append({"id": f"u{number}", "role": "user", "parts": parts, "metadata": {"at": number}})
        said: list[dict[str, Any]] = []
        for step, ids in steps:
            said.append({"type": "step-start"})
            if step.reasoning:
                said.append({"type": "reasoning", "text": step.reasoning, "state": "done"})
            said += [{"type": "text", "text": text, "state": "done"} for text in step.words]
            for id, (name, arguments), (text, is_error, _) in zip(ids, step.calls, step.answers, strict=True):
                outcome = (
                    {"state": "output-error", "errorText": text}
                    if is_error
                    else {"state": "output-available", "output": {"said": text}}
                )
                said.append({"type": f"tool-{name}", "toolCallId": id, "input": arguments, **outcome})
            if step.after:
                said.append({"type": "text", "text": step.after})
        chat.append({"id": f"a{number}", "role": "assistant", "parts": said})
    return chat


_FORMATS: Mapping[str, Callable[[str | None, list[Turn]], Any]] = {
    "openai_chat": _openai_chat,
    "openai_responses": _openai_responses,
    "anthropic": _anthropic,
    "bedrock_converse": _bedrock_converse,
    "gemini": _gemini,
    "ui_messages": _ui_messages,
}
