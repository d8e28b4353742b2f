"""A conversation from a file or from standard input: JSON, or JSON lines, in the OpenAI chat format.

Everything is read and checked before anything is stored; what is wrong is told with its line or message number.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, cast

from session_continuity import ChatFormatError, NewMessage, SessionContinuityError, from_openai

__all__ = ["Transcript", "TranscriptError", "parse_transcript", "read_transcript"]

_DEEPEST = 100


class TranscriptError(SessionContinuityError):
    """A transcript cannot be read, or is not in the format; nothing was stored."""

    code = "transcript_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A conversation. Each message has an id made of its content, its place and all messages before it, so that the
    same conversation has the same ids, and a longer one begins with those of the shorter. `request` is what stood
    beside the messages."""

    messages: list[NewMessage]
    request: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ids(self) -> list[str]:
        """The ids of the messages."""
        return [cast("str", message.id) for message in self.messages]


def read_transcript(source: str) -> Transcript:
    """The transcript in a file, or on standard input for `-`. Raises TranscriptError."""
    if source == "-":
        return parse_transcript(sys.stdin.buffer.read(), "standard input")
    try:
        return parse_transcript(Path(source).read_bytes(), source)
    except OSError as error:
        raise TranscriptError(f"{source}: {error.strerror}") from error


def parse_transcript(data: bytes, name: str) -> Transcript:
    """The transcript in `data`; errors call it `name`. Raises TranscriptError."""
    try:
        parsed = _parsed(_decoded(data))
        messages = _messages(parsed)
    except ValueError as error:
        raise TranscriptError(f"{name}: {error}") from None
    ids = _chained_ids(parsed.values)
    numbered = [message.model_copy(update={"id": id}) for message, id in zip(messages, ids, strict=True)]
    return Transcript(messages=numbered, request=parsed.request)


def _messages(parsed: _Parsed) -> list[NewMessage]:
    _check(parsed.request, "beside the messages")
    for place, value in enumerate(parsed.values):
        _check(value, parsed.where(place))
    try:
        messages = from_openai(parsed.values)
    except ChatFormatError as error:
        raise ValueError(f"{parsed.where(error.number - 1)}: {error.reason}") from None
    if not messages:
        raise ValueError("no messages in it")
    return messages


def _chained_ids(values: Iterable[object]) -> Iterable[str]:
    digest = b""
    for value in values:
        digest = blake2b(digest + json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
        yield f"chat-{digest.hex()}"


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise ValueError(f"line {line}: not UTF-8; save it as UTF-8")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """JSON values that should be messages, what stood beside them, and the line of each where it had its own."""

    values: list[object]
    request: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: list[int] | None = None

    def where(self, place: int) -> str:
        return f"message {place + 1}" if self.lines is None else f"line {self.lines[place]}"


def _parsed(text: str) -> _Parsed:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    if _is_json_lines([line for _, line in lines]):
        values = [_loaded(line, first_line=number) for number, line in lines]
        if any(isinstance(value, dict) and "messages" in value and "role" not in value for value in values):
            raise ValueError("several conversations in one file; a transcript holds one")
        return _Parsed(values, lines=[number for number, _ in lines])
    value = _loaded(text)
    if isinstance(value, list):
        return _Parsed(cast("list[object]", value))
    if not isinstance(value, dict):
        raise ValueError("a transcript is a list of messages, an object with 'messages', or one message a line")
    return _conversation(cast("dict[str, Any]", value))


def _conversation(value: dict[str, Any]) -> _Parsed:
    if "messages" not in value:
        return _Parsed([value])
    messages = value["messages"]
    if not isinstance(messages, list):
        raise ValueError("'messages' is not a list")
    return _Parsed(cast("list[object]", messages), {key: item for key, item in value.items() if key != "messages"})


def _is_json_lines(lines: list[str]) -> bool:
    """Whether the lines are values of their own: the first is an object, or all begin one and some is whole."""
    if len(lines) == 1:
        return False
    begin_objects = all(line.lstrip().startswith("{") for line in lines)
    return _is_object(lines[0]) or (begin_objects and any(_is_object(line) for line in lines))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _loaded(text: str, first_line: int = 1) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ValueError(f"line {line} column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"line {first_line}: nested too deeply") from None
    except ValueError:
        raise ValueError(f"line {first_line}: a number of more digits than can be read") from None


def _check(value: object, where: str, level: int = 1) -> None:
    """Refuse what no store gives back: numbers that are none, and JSON deeper than its readers go (200 levels, of
    which some are ours)."""
    if level > _DEEPEST:
        raise ValueError(f"{where}: nested more than {_DEEPEST} levels deep")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{where}: a number that is not finite")
    if isinstance(value, dict):
        value = list(cast("dict[str, object]", value).values())
    if isinstance(value, list):
        for item in cast("list[object]", value):
            _check(item, where, level + 1)
