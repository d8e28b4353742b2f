"""The shared reader of content blocks: `parts_of(message)` gives what a message consists of, whoever wrote its blocks.

A message keeps the blocks of a provider verbatim, and calls and results either typed in its metadata or as such blocks.
This module reads all of these as six kinds of parts: `Text`, `Reasoning`, `Media`, `Call`, `Result`, and `Other` for
blocks that have a meaning for their provider only. It knows the blocks of OpenAI chat, OpenAI Responses, Anthropic,
Bedrock Converse, Gemini, Vercel UI messages and LangChain. A block is told by its `type`; Converse and Gemini have
none, and the formats give their blocks one: `bedrock:image`, `gemini:inline_data`.

    for part in parts_of(message):
        match part:
            case Text(): part.text                         # also a refusal (part.refusal), a document that is text
            case Reasoning(): part.text, part.opaque       # thinking that is sent again, and its signature
            case Media(): part.kind, part.size()           # an image, audio, video or another file
            case Call(): part.id, part.name, part.arguments_text
            case Result(): part.call_id, part.is_error, parts_of_value(part.value)
            case Other(): part.block

Each part has a `place`, for those who change a view of the message: `("content", 2)` is the third block (a content that
is a string is block 0), `("tool_calls", 0)` and `("tool_results", 0)` are in the metadata, and `("annotations", 0)` is
what a provider sends beside the content. Parts come in this order: annotations, content, calls, results. A content that
only repeats the one result of a tool's message is not given twice.

Pure. Nothing raises: a block that is malformed is an `Other`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from session_continuity.blocks.parts import Call, Media, Other, Part, Reasoning, Result, Text, json_text
from session_continuity.blocks.providers import parts_beside, parts_of_block, parts_of_value
from session_continuity.models import Message, NewMessage
from session_continuity.values import Content

__all__ = [
    "Call",
    "Media",
    "Other",
    "Part",
    "Reasoning",
    "Result",
    "Text",
    "calls_of",
    "json_text",
    "parts_of",
    "parts_of_block",
    "parts_of_value",
    "results_of",
    "tools_of",
]

Tools: TypeAlias = tuple[Sequence[Call], Sequence[Result]]

_CHAT = "openai"
_NO_TOOLS: Tools = ((), ())


def parts_of(message: Message | NewMessage) -> Iterator[Part]:
    """The parts of a message, in the order of the module's description."""
    content, metadata = message.content, message.metadata
    calls, results = metadata.tool_calls, metadata.tool_results
    if metadata.annotations:
        yield from parts_beside(metadata.annotations.get(_CHAT))
    repeats = len(results) == 1 and message.role == "tool"
    if content and not repeats:
        yield from _parts_of_content(content)
    if calls or results:
        typed_calls, typed_results = _typed_tools(message)
        yield from typed_calls
        yield from typed_results


def tools_of(message: Message | NewMessage) -> Tools:
    """The calls and the results of a message, typed and in blocks. One pass, which skips words."""
    content, metadata = message.content, message.metadata
    is_typed = metadata.tool_calls or metadata.tool_results
    if isinstance(content, str):
        return _typed_tools(message) if is_typed else _NO_TOOLS
    calls: list[Call] = []
    results: list[Result] = []
    if not (message.role == "tool" and len(metadata.tool_results) == 1):
        for index, block in enumerate(content):
            if block.get("type") == "text":
                continue
            for part in parts_of_block(block, ("content", index)):
                if isinstance(part, Call):
                    calls.append(part)
                elif isinstance(part, Result):
                    results.append(part)
    if not is_typed:
        return calls, results
    typed_calls, typed_results = _typed_tools(message)
    return [*calls, *typed_calls], [*results, *typed_results]


def calls_of(message: Message | NewMessage) -> list[Call]:
    """The calls of a message, typed and in blocks."""
    return list(tools_of(message)[0])


def results_of(message: Message | NewMessage) -> list[Result]:
    """The results of a message, typed and in blocks."""
    return list(tools_of(message)[1])


def _typed_tools(message: Message | NewMessage) -> Tools:
    """The calls and results in the metadata."""
    content, metadata = message.content, message.metadata
    calls = [
        Call(call.id, call.name, call.arguments, ("tool_calls", index))
        for index, call in enumerate(metadata.tool_calls)
    ]
    if not metadata.tool_results:
        return calls, ()
    repeats = content and message.role == "tool" and len(metadata.tool_results) == 1
    results = [
        Result(
            result.tool_call_id,
            content if repeats else result.result,
            result.name or "",
            result.is_error,
            ("tool_results", index),
        )
        for index, result in enumerate(metadata.tool_results)
    ]
    return calls, results


def _parts_of_content(content: Content) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for index, block in enumerate(content):
        yield from parts_of_block(block, ("content", index))
