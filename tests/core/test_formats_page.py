"""`docs/formats.md`: its programs run as printed, and its tables are what the formats do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from session_continuity import (
    NewMessage,
    convert,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
)
from session_continuity.formats.conversion import FormatName

if TYPE_CHECKING:
    from .conftest import RunPython

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
PNG = "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAwCAYAAAChS3wf" + "A" * 40
ASKED: dict[str, Any] = {"role": "user", "content": "u"}


def media(**block: Any) -> list[NewMessage]:
    """A user's message with words and a block as MCP writes it, which is of none of the formats."""
    return [NewMessage(role="user", content=[{"type": "text", "text": "u"}, block])]


def anthropic_turn(*blocks: dict[str, Any], result: dict[str, Any] | None = None) -> list[NewMessage]:
    turn: list[dict[str, Any]] = [ASKED, {"role": "assistant", "content": list(blocks)}]
    if result:
        turn.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", **result}]})
    return from_anthropic(turn)


def converse_turn(*blocks: dict[str, Any], result: dict[str, Any] | None = None) -> list[NewMessage]:
    turn: list[dict[str, Any]] = [
        {"role": "user", "content": [{"text": "u"}]},
        {"role": "assistant", "content": list(blocks)},
    ]
    if result:
        turn.append({"role": "user", "content": [{"toolResult": {"toolUseId": "x", **result}}]})
    return from_bedrock_converse(turn)


TEXT = {"type": "text", "text": "t"}
USE, CONVERSE_USE = (
    {"type": "tool_use", "id": "x", "name": "f", "input": {}},
    {"toolUse": {"toolUseId": "x", "name": "f", "input": {}}},
)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CONVERSE_IMAGE = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
CITED = {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://e.org", "title": "t"}
SAID = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}

PARTS: Mapping[str, Mapping[str, Callable[[], list[NewMessage]]]] = {
    "words": {"": lambda: [NewMessage(role="user", content="u")]},
    "image of the user's, as data": {"": lambda: media(type="image", mimeType="image/png", data=PNG)},
    "image of the user's, by URL": {"": lambda: media(type="image", url="https://e.org/a.png")},
    "PDF of the user's, as data": {"": lambda: media(type="document", mimeType="application/pdf", data=PNG)},
    "recording (MP3)": {"": lambda: media(type="audio", mimeType="audio/mp3", data=PNG)},
    "film (MP4), as data": {"": lambda: media(type="video", mimeType="video/mp4", data=PNG)},
    "call of a tool, and its result": {
        "anthropic": lambda: anthropic_turn(USE, result={"content": "r"}),
        "bedrock_converse": lambda: converse_turn(CONVERSE_USE, result={"content": [{"text": "r"}]}),
    },
    "that a result is an error": {
        "anthropic": lambda: anthropic_turn(USE, result={"content": "r", "is_error": True}),
        "bedrock_converse": lambda: converse_turn(CONVERSE_USE, result={"content": [{"text": "r"}], "status": "error"}),
    },
    "image in a result": {
        "anthropic": lambda: anthropic_turn(USE, result={"content": [TEXT, IMAGE]}),
        "bedrock_converse": lambda: converse_turn(CONVERSE_USE, result={"content": [{"text": "r"}, CONVERSE_IMAGE]}),
    },
    "words of a refusal": {
        "openai": lambda: from_openai([ASKED, {"role": "assistant", "content": None, "refusal": "No."}]),
        "openai_responses": lambda: from_openai_responses(
            [ASKED, {**SAID, "content": [{"type": "refusal", "refusal": "No."}]}]
        ),
    },
    "reasoning": {
        "anthropic": lambda: anthropic_turn({"type": "thinking", "thinking": "t", "signature": "s"}, TEXT),
        "openai": lambda: from_openai([ASKED, {"role": "assistant", "content": "a", "reasoning_content": "r"}]),
    },
    "signature of a call": {
        "gemini": lambda: from_gemini(
            [
                {"role": "user", "parts": [{"text": "u"}]},
                {"role": "model", "parts": [{"function_call": {"name": "f", "args": {}}, "thought_signature": "cw=="}]},
                {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"output": "r"}}}]},
            ]
        ),
    },
    "citations": {
        "anthropic": lambda: anthropic_turn({**TEXT, "citations": [{"type": "char_location"}]}),
        "openai_responses": lambda: from_openai_responses(
            [ASKED, {**SAID, "content": [{"type": "output_text", "text": "t", "annotations": [CITED]}]}]
        ),
    },
    "marks for caches": {
        "anthropic": lambda: anthropic_turn({**TEXT, "cache_control": {"type": "ephemeral"}}),
        "bedrock_converse": lambda: converse_turn({"text": "t"}, {"cachePoint": {"type": "default"}}),
    },
    "runs of a provider's own tools": {
        "anthropic": lambda: anthropic_turn(
            {"type": "server_tool_use", "id": "s", "name": "search", "input": {}}, TEXT
        ),
        "openai_responses": lambda: from_openai_responses(
            [
                ASKED,
                {"type": "web_search_call", "id": "w", "status": "completed"},
                {"role": "assistant", "content": "a"},
            ]
        ),
    },
    "name of a speaker": {
        "openai": lambda: from_openai([{**ASKED, "name": "ada"}]),
    },
}
"""Parts of messages, each as the formats have it that know it; the format's name is that of its annotation."""


def goes_over(sources: Mapping[str, Callable[[], list[NewMessage]]], to: FormatName) -> str:
    """`yes` or `–`, by whether a part from another format is written in this one; `own` if only this one has it."""
    own = "openai" if to == "openai_chat" else to
    foreign = [make for source, make in sources.items() if source != own]
    if not foreign:
        return "own"
    return "–" if convert(foreign[0](), to).losses else "yes"


def test_the_table_of_what_goes_over_is_what_the_formats_do() -> None:
    rows = [
        f"| {part} | " + " | ".join(goes_over(sources, to) for to in get_args(FormatName)) + " |"
        for part, sources in PARTS.items()
    ]
    assert "\n".join(rows) in PAGE, "\n".join(rows)


def test_the_programs_run_as_printed(run_python: RunPython) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    printed = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(programs) == len(printed) >= 2
    for program, expected in zip(programs, printed, strict=True):
        done = run_python(program)
        assert (done.stdout, done.stderr) == (expected, "")
