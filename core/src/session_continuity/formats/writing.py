"""Writing neutral messages in a provider's format, and the account of what cannot be written."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias, cast

from session_continuity.blocks.parts import Call, Media, Other, Part, Result, Text
from session_continuity.blocks.providers import parts_beside, parts_of_block, parts_of_value
from session_continuity.formats.reading import ABSENT
from session_continuity.models import Message, MessageMetadata, NewMessage, ToolResult

__all__ = [
    "NO_WORDS",
    "Loss",
    "LossReason",
    "MessageWriter",
    "Report",
    "answers_behind_calls",
    "arguments_object",
    "asks_without_words",
    "extras_of",
    "hashed_id",
    "kept_by",
    "result_value",
    "safe_id",
    "safe_name",
    "to_write",
]

AnyMessage: TypeAlias = Message | NewMessage

NO_WORDS = "(no text)"
"""What is written for a user's message of which nothing can go over: without it the model would answer nobody."""

LossReason = Literal["other model", "no equivalent", "not allowed here", "empty", "incomplete"]
"""Why a part is left out: `other model`, its reasoning may be read again only by the model that wrote it; `no
equivalent`, the format has nothing like it; `not allowed here`, the format takes it from other roles only; `empty`, it
has no words; `incomplete`, what must follow it is missing."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A part of a message that a format cannot take. `message` counts from 1; `part` is the block's type, or `message`
    for a whole message."""

    message: int
    part: str
    reason: LossReason


@dataclass(slots=True)
class Report:
    """The losses of a conversion, and the message that is being written."""

    losses: list[Loss] = field(default_factory=list[Loss])
    message: int = 0

    def lose(self, part: str, reason: LossReason) -> None:
        """Note that a part of the present message is left out."""
        self.losses.append(Loss(self.message, part, reason))


class MessageWriter(ABC):
    """Writes the pieces of messages as items of one format."""

    format: ClassVar[str]
    bound: ClassVar[Set[str]] = frozenset()
    """The types of blocks that only the model that wrote them may read again."""

    def __init__(self, report: Report, model: str | None) -> None:
        self.report = report
        self.model = model
        self.role = ""
        """The role of the present message; that of a result is `tool`."""
        self.is_own = False
        """Whether the present message has this format's blocks."""

    def own(self, block: dict[str, Any]) -> Any:
        """The item that a block of this format is."""
        return block

    @abstractmethod
    def part(self, part: Text | Media) -> Any:
        """The item for words or media from elsewhere; None, after a note of the loss, if there is none."""

    @abstractmethod
    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        """The item for a call."""

    @abstractmethod
    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        """The item for a result."""

    def items(self, message: AnyMessage, kept: Mapping[str, Any] | None) -> list[Any]:
        """A message's items in their order. `kept` is the format's annotation, None for a message from elsewhere."""
        metadata, self.role, self.is_own = message.metadata, message.role, kept is not None
        content = () if metadata.tool_results and message.role == "tool" else message.content
        blocks = [self._block(block, kept) for block in _blocks(content)]
        if kept is None and metadata.annotations:
            blocks = [self.beside(message), *blocks]
        if not metadata.tool_calls and not metadata.tool_results:
            return [item for written in blocks for item in written]
        about = kept or {}
        is_other_model = self.is_other_model(kept)
        calls = [
            [self._call(Call(call.id, call.name, call.arguments), extra, is_other_model)]
            for call, extra in extras_of(about.get("calls"), metadata.tool_calls, "id")
        ]
        results = [
            [self._result(message, result, extra)]
            for result, extra in extras_of(about.get("results"), metadata.tool_results, "tool_call_id")
        ]
        return _in_order(about.get("order"), blocks, calls, results)

    def beside(self, message: AnyMessage) -> list[Any]:
        """The items for what another format has beside the content, such as a refusal. Notes what is lost of it."""
        annotations = message.metadata.annotations
        self._lose_extras(annotations)
        chat = annotations.get("openai")
        if not isinstance(chat, dict):
            return []
        known = _IN_FIELDS if message.role != "tool" else _IN_FIELDS | {"name"}
        for key, value in cast("dict[str, Any]", chat).items():
            if value and key not in known:
                self.report.lose(key, "no equivalent")
        return self.foreign(parts_beside(chat))

    def is_other_model(self, kept: Mapping[str, Any] | None) -> bool:
        """Whether another model than the one that is asked wrote the message."""
        wrote = kept.get("model") if kept else None
        return self.model is not None and wrote is not None and wrote != self.model

    def foreign(self, parts: Iterable[Part]) -> list[Any]:
        """The items for parts from elsewhere."""
        return [item for part in parts if (item := self._foreign(part)) is not None]

    def result_items(self, value: Any) -> list[Any]:
        """The items for the value of a result from elsewhere."""
        role, self.role = self.role, "tool"
        items = self.foreign(parts_of_value(value))
        self.role = role
        return items

    def unbound(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """The further keys of a call without those that only the model that wrote it may read again."""
        return extra

    def _block(self, block: dict[str, Any], kept: Mapping[str, Any] | None) -> list[Any]:
        if kept is None or block.keys() == _PLAIN_TEXT:
            self._lose_keys(block)
            return self.foreign(parts_of_block(block))
        if block["type"] in self.bound and self.is_other_model(kept):
            self.report.lose(block["type"], "other model")
            return []
        item = self.own(block)
        return [] if item is None else [item]

    def _lose_keys(self, block: dict[str, Any]) -> None:
        """Note what a block of another format has beside its words: citations, cache marks, signatures."""
        if len(block) > len(_PLAIN_TEXT):
            self._lose_marks(block)
        if block["type"] == "bedrock:citationsContent":
            self.report.lose("citations", "no equivalent")

    def _lose_marks(self, part: Mapping[str, Any]) -> None:
        for key in sorted(_MARKS & part.keys()):
            if part[key]:
                self.report.lose(key, "no equivalent")

    def _lose_extras(self, annotations: Mapping[str, Any]) -> None:
        """Note what another format has beside its calls and results: signatures, cache marks."""
        for format in FORMATS & annotations.keys() - {self.format}:
            kept: object = annotations[format]
            if isinstance(kept, dict):
                fields = cast("dict[str, Any]", kept)
                for kind in ("calls", "results", "tool_calls"):
                    for key in _extra_keys(fields.get(kind)):
                        self.report.lose(key, "no equivalent")
                for key in fields.get("message", ()):
                    self.report.lose(key, "no equivalent")
                for item in fields.get("items", ()):
                    for part in item.get("parts", ()):
                        self._lose_marks(part)

    def _foreign(self, part: Part) -> Any:
        if isinstance(part, (Text, Media)):
            return self.part(part)
        if isinstance(part, Call):
            return self.call(part, _NOTHING)
        if isinstance(part, Result):
            is_own, self.is_own = self.is_own, False
            item = self.result(part, _NOTHING)
            self.is_own = is_own
            return item
        kind = part.block.get("type") if isinstance(part, Other) else "reasoning"
        self.report.lose(str(kind), "no equivalent")
        return None

    def _call(self, call: Call, extra: Mapping[str, Any], is_other_model: bool) -> Any:
        return self.call(call, self.unbound(extra) if is_other_model else extra)

    def _result(self, message: AnyMessage, result: ToolResult, extra: Mapping[str, Any]) -> Any:
        value = result_value(message, result.result)
        part = Result(result.tool_call_id, value, result.name or "", result.is_error)
        return self.result(part, extra)


FORMATS = frozenset(("openai", "openai_responses", "anthropic", "bedrock_converse", "gemini", "ui_messages"))
"""The annotations in which the formats keep what they need."""
_OF_NO_USE_ELSEWHERE = frozenset((ABSENT, "in", "id", "type", "status", "index", "toolName", "state"))


def _extra_keys(kept: object) -> Iterator[str]:
    """The further keys of calls or results that a reader of another format may miss."""
    if isinstance(kept, dict):
        for entry in cast("dict[str, object]", kept).values():
            for extra in cast("list[object]", entry) if isinstance(entry, list) else [entry]:
                if isinstance(extra, dict):
                    found = cast("dict[str, Any]", extra).items()
                    yield from (key for key, value in found if value and key not in _OF_NO_USE_ELSEWHERE)


def asks_without_words(message: AnyMessage, written: Sequence[Mapping[str, Any]]) -> bool:
    """Whether NO_WORDS must be written for a message of which nothing can go over: it is the user's, and nothing of the
    user's stands before it."""
    return message.role == "user" and not (written and written[-1].get("role") == "user")


_PLAIN_TEXT = {"type": None, "text": None}.keys()
_MARKS = frozenset(("citations", "annotations", "cache_control", "logprobs", "thought_signature", "thoughtSignature"))
"""The keys of a block that say something to its own provider only."""
_IN_FIELDS = frozenset(
    [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "refusal",
        "$model",
        "$blocks",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "thinking_blocks",
    ]
)
"""The keys of a chat message that are in the neutral message's fields, or that the shared reader of blocks reads."""


def kept_by(message: AnyMessage, format: str) -> dict[str, Any] | None:
    """What a format noted on a message; None for a message that is not of this format, or that needs no note."""
    annotations = message.metadata.annotations
    kept = annotations.get(format) if annotations else None
    return cast("dict[str, Any]", kept) if isinstance(kept, dict) else None


def result_value(message: AnyMessage, result: Any) -> Any:
    """The value of a result. A tool's message with one result may have it as its content."""
    if message.content and message.role == "tool" and len(message.metadata.tool_results) == 1:
        return message.content
    return result


def extras_of(kept: Any, items: Sequence[Any], key: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Each call or result with its further keys."""
    if not isinstance(kept, dict):
        yield from ((item, _NOTHING) for item in items)
        return
    by_id = cast("dict[str, Any]", kept)
    seen: dict[str, int] = {}
    for item in items:
        id = getattr(item, key)
        place = seen[id] = seen.get(id, -1) + 1
        extra: object = by_id.get(id)
        if isinstance(extra, list):
            listed = cast("list[object]", extra)
            extra = listed[place] if place < len(listed) else None
        elif place:
            extra = None
        yield item, cast("dict[str, Any]", extra) if isinstance(extra, dict) else _NOTHING


_NOTHING: Mapping[str, Any] = {}


def _blocks(content: str | Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    if isinstance(content, str):
        return ({"type": "text", "text": content},) if content else ()
    return content


def _in_order(order: Any, blocks: list[Any], calls: list[Any], results: list[Any]) -> list[Any]:
    """The pieces as they stood, or results, blocks and calls if the message was edited since."""
    pieces = {"b": blocks, "c": calls, "r": results}
    if not isinstance(order, str) or any(order.count(kind) != len(list_) for kind, list_ in pieces.items()):
        return [item for written in (*results, *blocks, *calls) for item in written]
    queues = {kind: iter(list_) for kind, list_ in pieces.items()}
    return [item for kind in order for item in next(queues[kind])]


def to_write(
    context: Iterable[AnyMessage], report: Report, format: str
) -> Iterator[tuple[AnyMessage, dict[str, Any] | None]]:
    """Each message with what the format noted on it, answers behind their calls. The report counts them."""
    for report.message, message in enumerate(answers_behind_calls(context), 1):
        kept = kept_by(message, format)
        for part in (message,) if kept and "results" in kept else _answers_apart(message):
            yield part, kept if part.metadata.annotations else None


def _answers_apart(message: AnyMessage) -> Sequence[AnyMessage]:
    """A message, and as another one behind it the answers to its own calls: providers take them from another role."""
    metadata = message.metadata
    calls = {call.id for call in metadata.tool_calls}
    answers = [result for result in metadata.tool_results if result.tool_call_id in calls]
    if not answers:
        return (message,)
    others = [result for result in metadata.tool_results if result.tool_call_id not in calls]
    asks = message.model_copy(update={"metadata": metadata.model_copy(update={"tool_results": others})})
    answer = {"role": "tool", "content": "", "metadata": MessageMetadata(tool_results=answers)}
    return asks, message.model_copy(update=answer)


def answers_behind_calls(messages: Iterable[AnyMessage]) -> list[AnyMessage]:
    """The messages with each answer to a call directly behind it, because no provider takes messages between the two.

    An answer comes behind the last message with one of its calls, and behind the other answers there.
    """
    ordered: list[AnyMessage] = []
    for message in messages:
        answered = {result.tool_call_id for result in message.metadata.tool_results}
        ordered.insert(_answer_position(ordered, answered) if answered else len(ordered), message)
    return ordered


def _answer_position(before: Sequence[AnyMessage], answered: Set[str]) -> int:
    end = len(before)
    for place in reversed(range(end)):
        if any(call.id in answered for call in before[place].metadata.tool_calls):
            return next((at for at in range(place + 1, end) if not before[at].metadata.tool_results), end)
    return end


def arguments_object(arguments: Any) -> dict[str, Any]:
    """A call's arguments as an object, for formats that take nothing else. What a model did not write as an object
    is kept under `arguments`."""
    if isinstance(arguments, dict):
        return cast("dict[str, Any]", arguments)
    if not arguments:
        return {}
    try:
        read = json.loads(arguments)
    except ValueError:
        return {"arguments": arguments}
    return cast("dict[str, Any]", read) if isinstance(read, dict) else {"arguments": read}


@lru_cache(1024)
def safe_id(call_id: str, allowed: str = "a-zA-Z0-9_-") -> str:
    """The id of a call in a form that a provider takes: of at most 64 allowed characters. Any other is hashed, so that
    a call and its results still have the same one."""
    if re.fullmatch(f"[{allowed}]{{1,64}}", call_id):
        return call_id
    return hashed_id(call_id)


def hashed_id(call_id: str) -> str:
    """An id of 35 characters for a call whose own id a provider refuses."""
    return f"id_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"


@lru_cache(1024)
def safe_name(name: str) -> str:
    """The name of a tool in the form that providers take: 64 letters, digits, `_` and `-`."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "tool"
