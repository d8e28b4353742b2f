"""Reading conversations from a file or standard input: JSON or JSON lines of any format that is known.

Everything is read and checked before anything is stored. Errors name the line or the message.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError as PydanticError

from session_continuity import ChatFormatError, NewMessage, SessionContinuityError, SessionMetadata
from session_continuity.cli.transcript_conversation import Conversation
from session_continuity.cli.transcript_formats import conversations_in

__all__ = ["Transcript", "TranscriptError", "parse_transcript", "parse_transcripts", "read_source", "read_transcript"]

_MINTED = re.compile(r"call_[0-9a-f]{24}")


class TranscriptError(SessionContinuityError):
    """A transcript cannot be read or is not in a format that is known. Nothing was stored."""

    code = "transcript_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The messages of a conversation, in `request` what the document has besides them, and in `notes` what is left out.

    The id of a message is a hash of it and of all messages before it. So the same conversation always has the same ids,
    and a longer version begins with the ids of the shorter one.
    """

    messages: list[NewMessage]
    request: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])

    @property
    def ids(self) -> list[str]:
        """The ids of the messages."""
        return [cast("str", message.id) for message in self.messages]


def read_source(source: str) -> bytes:
    """The bytes of a file, or of standard input if `source` is `-`. Raises TranscriptError."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise TranscriptError(f"{source}: {error.strerror}") from error


def read_transcript(source: str, conversation: int | None = None) -> Transcript:
    """The transcript in a file, or on standard input if `source` is `-`. Raises TranscriptError."""
    return parse_transcript(read_source(source), "standard input" if source == "-" else source, conversation)


def parse_transcript(data: bytes, name: str, conversation: int | None = None) -> Transcript:
    """The transcript in `data`, which errors call `name`. Raises TranscriptError.

    `conversation` is the number, from 1, of the one to read of several.
    """
    try:
        document, lines = _parse(_decode(data))
        found = conversations_in(document)
        if conversation is None and len(found) > 1:
            raise ValueError(f"it has several conversations; choose one with --conversation 1 to {len(found)}")
        number = conversation or 1
        if found and not 1 <= number <= len(found):
            raise ValueError(f"it has no conversation {number}; the last is {len(found)}")
        return _transcript(found[number - 1] if found else Conversation([]), _Places(lines, number, len(found)))
    except ValueError as error:
        raise TranscriptError(f"{name}: {error}") from None


def parse_transcripts(data: bytes, name: str) -> list[Transcript]:
    """All transcripts in `data`, which errors call `name`. Raises TranscriptError."""
    try:
        document, lines = _parse(_decode(data))
        found = conversations_in(document)
        return [
            _transcript(conversation, _Places(lines, number, len(found)))
            for number, conversation in enumerate(found, 1)
        ]
    except ValueError as error:
        raise TranscriptError(f"{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the items of a conversation are in the document: the conversation's number, and the lines of JSON lines."""

    lines: list[int] | None
    number: int
    conversations: int

    def of(self, place: int, item: int) -> str:
        """The place of an item, for errors. `place` is the index in the document that it comes from."""
        if self.conversations > 1:
            line = f"line {self.lines[self.number - 1]}" if self.lines else f"conversation {self.number}"
            return f"{line}, message {item + 1}"
        return f"message {place + 1}" if self.lines is None else f"line {self.lines[place]}"


def _transcript(conversation: Conversation, places: _Places) -> Transcript:
    try:
        SessionMetadata(custom=conversation.request)
    except PydanticError as error:
        raise ValueError(f"outside of the messages: {error.errors()[0]['msg']}") from None
    try:
        messages = conversation.messages()
    except ChatFormatError as error:
        item = error.number - 1
        place = conversation.places[item] if conversation.places else item
        raise ValueError(f"{places.of(place, item)}: {error.reason}") from None
    if not messages:
        raise ValueError("it has no messages")
    ids = _chained_ids(_identities(conversation, messages))
    numbered = [message.model_copy(update={"id": id}) for message, id in zip(messages, ids, strict=True)]
    return Transcript(messages=numbered, request=conversation.request, notes=conversation.notes)


def _identities(conversation: Conversation, messages: list[NewMessage]) -> Iterable[str]:
    """A text for each message by which it is the same in every run: ids that were minted for its calls are not."""
    if conversation.format == "openai_chat":
        return (json.dumps(item, sort_keys=True) for item in conversation.items)
    return (_MINTED.sub("call", message.model_dump_json()) for message in messages)


def _chained_ids(identities: Iterable[str]) -> Iterable[str]:
    digest = b""
    for identity in identities:
        digest = blake2b(digest + identity.encode(), digest_size=16).digest()
        yield f"chat-{digest.hex()}"


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8")


def _parse(text: str) -> tuple[object, list[int] | None]:
    """The document, and the numbers of its lines if it is JSON lines."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    if _is_json_lines([line for _, line in lines]):
        return [_load(line, first_line=number) for number, line in lines], [number for number, _ in lines]
    return _load(text), None


def _is_json_lines(lines: list[str]) -> bool:
    """Whether each line is a document, although some may be malformed."""
    if len(lines) == 1:
        return False
    # A malformed first line does not decide: then all lines must look like objects, and one of them be one.
    begin_objects = all(line.lstrip().startswith("{") for line in lines)
    return _is_object(lines[0]) or (begin_objects and any(_is_object(line) for line in lines))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _load(text: str, first_line: int = 1) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ValueError(f"line {line} column {error.colno} is not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"line {first_line} is nested too deeply") from None
    except ValueError:
        raise ValueError(f"line {first_line} has a number with too many digits") from None
