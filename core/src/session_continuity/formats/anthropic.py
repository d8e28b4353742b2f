"""Conversion between Anthropic's Messages format and this project's messages. Pure; Anthropic's package is not needed.

    messages = from_anthropic([response])
    client.messages.create(model=model, max_tokens=1000, **to_anthropic(context, model=model))

A user message with tool results becomes a `tool` message, and a user message with what stands beside the results. In
annotations, `joined` marks such a part of a message, `apart` a message that is not to be joined with the results before
it, and `middle` a system message among the others, which otherwise stand in `system`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from session_continuity.blocks.parts import Call, Media, Result, Text
from session_continuity.formats.checks import choice_at, list_at, numbered, object_from, refuse_keys, string_at
from session_continuity.formats.reading import MessageReader, difference, minted_id, restored, result_runs
from session_continuity.formats.recognition import foreign_block, hint
from session_continuity.formats.writing import (
    NO_WORDS,
    AnyMessage,
    MessageWriter,
    Report,
    arguments_object,
    asks_without_words,
    safe_id,
    safe_name,
    to_write,
)
from session_continuity.models import NewMessage

__all__ = ["from_anthropic", "to_anthropic"]

FORMAT = "anthropic"

_OF_A_RESPONSE = frozenset(
    ("id", "type", "model", "stop_reason", "stop_sequence", "stop_details", "usage", "container", "context_management")
)
"""The keys of a response that are not part of the conversation."""
_BOUND = frozenset(("thinking", "redacted_thinking"))
_IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_CALL, _RESULT = ("type", "id", "name", "input"), ("type", "tool_use_id", "content", "is_error")


def from_anthropic(messages: Iterable[object], system: object = None, *, model: str | None = None) -> list[NewMessage]:
    """The messages of a conversation with Claude, ready for `add_messages`; they have no ids.

    Each item is a dict, or an object of Anthropic's client: also a whole response, without its usage. `system` is the
    system prompt beside the messages, a text or a list of blocks. `model` is the model that wrote the answers, if they
    do not say so; only that one may read its thinking again.

    Raises ChatFormatError for a message that is not in the format, and ValidationError if `messages` is not a list.
    """
    read: list[NewMessage] = []
    if system:
        read.extend(
            numbered([{"role": "system", "content": system}], lambda _, raw: _Reader(model).read(raw, top=True))
        )
    read.extend(numbered(messages, _Reader(model).numbered))
    return read


class _Reader:
    def __init__(self, model: str | None) -> None:
        self._model = model
        self._after_results = False

    def numbered(self, _: int, raw: object) -> Iterator[NewMessage]:
        return self.read(raw)

    def read(self, raw: object, *, top: bool = False) -> Iterator[NewMessage]:
        fields = object_from(raw, "a message")
        try:
            refuse_keys(fields, "tool_calls", "function_call", "parts", "toolInvocations")
            role = choice_at(fields, "role", ("user", "assistant", "system"))
            content = fields.get("content")
            blocks = list_at(fields, "content") if not isinstance(content, str) else None
            runs = [(False, None)] if blocks is None else list(result_runs(_checked(blocks), _is_result))
        except ValueError as error:
            raise ValueError(f"{error}{hint(raw, FORMAT)}") from None
        model = fields["model"] if isinstance(fields.get("model"), str) else self._model
        extra = {key: value for key, value in fields.items() if key not in ("role", "content", *_OF_A_RESPONSE)}
        for place, (are_results, run) in enumerate(runs):
            reader = MessageReader(FORMAT, "tool" if are_results else role, model=model, is_list=True)
            if role == "system" and not top:
                reader.kept["middle"] = True
            if place:
                reader.kept["joined"] = True
            elif are_results and self._after_results:
                reader.kept["apart"] = True
            if extra and not place:
                reader.kept["message"] = extra
            if run is None:
                yield _plain(reader, content)
            else:
                for block in run:
                    _read_block(reader, block)
                yield reader.message()
        self._after_results = any(are_results for are_results, _ in runs)


def _plain(reader: MessageReader, content: Any) -> NewMessage:
    if not reader.kept:
        return NewMessage(role=reader.role, content=content)  # type: ignore[arg-type]
    return NewMessage.model_validate(
        {"role": reader.role, "content": content, "metadata": {"annotations": {FORMAT: reader.kept}}}
    )


def _checked(blocks: list[Any]) -> list[dict[str, Any]]:
    for place, block in enumerate(blocks, 1):
        where = f"content block {place}"
        kind = string_at(object_from(block, where), "type", where)
        if foreign_block(kind, FORMAT):
            raise ValueError(f"{where} has the type {kind!r}")
        if kind in _NEEDS:
            key, what = _NEEDS[kind]
            string_at(block, key, f"{where}, a {what},")
    return blocks


_NEEDS: Mapping[str, tuple[str, str]] = {
    "tool_use": ("name", "tool_use"),
    "tool_result": ("tool_use_id", "tool_result"),
    "text": ("text", "text"),
    "thinking": ("thinking", "thinking"),
}


def _is_result(block: Mapping[str, Any]) -> bool:
    return bool(block["type"] == "tool_result")


def _read_block(reader: MessageReader, block: dict[str, Any]) -> None:
    kind = block["type"]
    if kind == "text" and len(block) == 2:
        reader.text(block["text"])
    elif kind == "tool_use":
        id = block.get("id")
        arguments = arguments_object(block.get("input"))
        call = {"id": id if isinstance(id, str) and id else minted_id(), "name": block["name"], "arguments": arguments}
        reader.call(call, {key: value for key, value in block.items() if key not in _CALL})
    elif kind == "tool_result":
        content = block.get("content")
        result = {"tool_call_id": block["tool_use_id"] or minted_id(), "result": content}
        if block.get("is_error"):
            result["is_error"] = True
        written = {"type": kind, "tool_use_id": "", **({"content": ""} if content is None else {})}
        extra = difference(block, written, ("type", "tool_use_id", "content"))
        if block.get("is_error"):
            del extra["is_error"]
        reader.result(result, extra, is_own=isinstance(content, list))
    else:
        reader.block(block, bound=kind in _BOUND)


def to_anthropic(context: Iterable[AnyMessage], *, model: str | None = None) -> dict[str, Any]:
    """The messages as `messages`, and `system` where there is a system prompt: arguments of `client.messages.create`.

    Messages from `from_anthropic` come back as they were. Thinking that another model than `model` wrote is left out,
    because Claude refuses it. `convert` tells what is left out.
    """
    return write(context, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> dict[str, Any]:
    """The request of `to_anthropic`, with an account of what it leaves out."""
    writer = _Writer(report, model)
    system: list[Any] = []
    messages: list[dict[str, Any]] = []
    for message, kept in to_write(context, report, FORMAT):
        content = writer.content(message, kept)
        if not content or (isinstance(content, str) and not content.strip()):
            report.lose("message", "empty")
            if asks_without_words(message, messages):
                _append(messages, message, NO_WORDS, kept)
        elif message.role == "system" and not (kept and kept.get("middle")):
            system.append(content)
        else:
            _append(messages, message, content, kept)
    request: dict[str, Any] = {"messages": messages}
    if system:
        request["system"] = system[0] if len(system) == 1 else [block for part in system for block in _as_blocks(part)]
    return request


def _append(messages: list[dict[str, Any]], message: AnyMessage, content: Any, kept: Mapping[str, Any] | None) -> None:
    role = "user" if message.role == "tool" else message.role
    about = kept or {}
    joins = about.get("joined") or (message.role == "tool" and not about.get("apart"))
    if joins and role == "user" and messages and messages[-1]["role"] == "user" and _has_result(messages[-1]):
        messages[-1]["content"] = [*messages[-1]["content"], *_as_blocks(content)]
    elif about.get("joined") and messages and messages[-1]["role"] == role == "user":
        messages[-1]["content"] = [*_as_blocks(messages[-1]["content"]), *_as_blocks(content)]
    else:
        messages.append({"role": role, "content": content, **about.get("message", {})})


def _has_result(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return not isinstance(content, str) and any(block["type"] == "tool_result" for block in content)


def _as_blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Writer(MessageWriter):
    format = FORMAT
    bound = _BOUND

    def content(self, message: AnyMessage, kept: Mapping[str, Any] | None) -> Any:
        """The content: the message's own text, if there is nothing else, or blocks."""
        metadata = message.metadata
        if not isinstance(message.content, str) or metadata.tool_calls or metadata.tool_results:
            return self.items(message, kept)
        blocks = self.beside(message) if kept is None and metadata.annotations else []
        words = self.foreign((Text(message.content),)) if blocks and message.content else []
        return [*blocks, *words] if blocks else message.content

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            if part.text.strip():
                return {"type": "text", "text": part.text}
            self.report.lose("text", "empty")
            return None
        if self.role not in ("user", "tool"):
            self.report.lose(part.kind, "not allowed here")
            return None
        source = _source(part)
        if source is None:
            self.report.lose(part.kind, "no equivalent")
            return None
        if part.kind == "image":
            return {"type": "image", "source": source}
        return {"type": "document", "source": source, **({"title": part.name} if part.name else {})}

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        arguments = arguments_object(call.arguments)
        return {"type": "tool_use", "id": safe_id(call.id), "name": safe_name(call.name), "input": arguments, **extra}

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        written: dict[str, Any] = {"type": "tool_result", "tool_use_id": safe_id(result.call_id)}
        content = result.value
        if not isinstance(content, str) and not (self.is_own and isinstance(content, list)):
            content = self._result_content(content)
        if content is not None:
            written["content"] = content
        if result.is_error:
            written["is_error"] = True
        return restored(written, extra)

    def _result_content(self, value: Any) -> Any:
        if value is None:
            return ""
        items = self.result_items(value)
        if len(items) == 1 and items[0].keys() == {"type", "text"}:
            return items[0]["text"]
        return items or ""


def _source(media: Media) -> dict[str, Any] | None:
    """The source of an image or of a document, if Anthropic takes it."""
    if media.kind == "image":
        if media.data:
            known = media.mime in _IMAGES
            return {"type": "base64", "media_type": media.mime, "data": media.data} if known else None
    elif media.kind != "file" or media.mime not in ("application/pdf", ""):
        return None
    elif media.data:
        return {"type": "base64", "media_type": "application/pdf", "data": media.data} if media.mime else None
    return {"type": "url", "url": media.url} if media.url.startswith("http") else None
