"""Conversion between the messages of Amazon Bedrock's Converse API and this project's messages. Pure; boto3 is not
needed.

    messages = from_bedrock_converse([response["output"]["message"]])
    client.converse(modelId=model, **to_bedrock_converse(context, model=model))

A block has no type in Converse: `{"image": …}` is stored as `{"type": "bedrock:image", "image": …}`, and bytes in it
as `{"$bytes": base64}`. A user message with tool results becomes a `tool` message, and a user message with what stands
beside the results. Converse takes no two messages of one role after each other, so these are written as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from session_continuity.blocks.parts import Call, Media, Result, Text
from session_continuity.formats.bytes_in_json import from_base64, pack, unpack
from session_continuity.formats.checks import choice_at, kind_of, list_at, numbered, object_from, string_at
from session_continuity.formats.reading import MessageReader, minted_id, result_runs
from session_continuity.formats.recognition import hint
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

__all__ = ["from_bedrock_converse", "to_bedrock_converse"]

FORMAT = "bedrock_converse"

_PREFIX = "bedrock:"
_BOUND = frozenset((f"{_PREFIX}reasoningContent",))
_IMAGES: Mapping[str, str] = {f"image/{name}": name for name in ("png", "jpeg", "gif", "webp")}
_DOCUMENTS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_VIDEOS: Mapping[str, str] = {f"video/{name}": name for name in ("mp4", "webm", "mpeg", "mpg", "wmv", "flv")}


def from_bedrock_converse(
    messages: Iterable[object], system: object = None, *, model: str | None = None
) -> list[NewMessage]:
    """The messages of a Converse conversation, ready for `add_messages`; they have no ids.

    Each item is a message as boto3 takes and gives it, with bytes as bytes. `system` is the list of blocks beside the
    messages. `model` is the id of the model that wrote the answers; only that one may read its reasoning again.

    Raises ChatFormatError for a message that is not in the format, and ValidationError if `messages` is not a list.
    """
    read: list[NewMessage] = []
    if system:
        read.extend(numbered([{"role": "system", "content": system}], lambda _, raw: _read(raw, model, top=True)))
    read.extend(numbered(messages, lambda _, raw: _read(raw, model)))
    return read


def _read(raw: object, model: str | None, *, top: bool = False) -> Iterator[NewMessage]:
    fields = object_from(raw, "a message")
    try:
        role = choice_at(fields, "role", ("user", "assistant", "system"))
        blocks = [_typed(block, f"content block {place}") for place, block in enumerate(list_at(fields, "content"), 1)]
    except ValueError as error:
        raise ValueError(f"{error}{hint(raw, FORMAT)}") from None
    extra = {key: pack(value) for key, value in fields.items() if key not in ("role", "content")}
    for place, (are_results, run) in enumerate(result_runs(blocks, _is_result)):
        reader = MessageReader(FORMAT, "tool" if are_results else role, model=model)
        if role == "system" and not top:
            reader.kept["middle"] = True
        if extra and not place:
            reader.kept["message"] = extra
        for block in run:
            _read_block(reader, block)
        yield reader.message()


def _typed(raw: object, where: str) -> dict[str, Any]:
    """A block with the type under which it is stored."""
    block = object_from(raw, where)
    kinds = [key for key in block if block[key] is not None]
    if len(kinds) != 1 or "type" in block:
        raise ValueError(f"{where} must have one key, such as 'text', 'image' or 'toolUse'")
    kind = kinds[0]
    if kind == "text":
        return {"type": "text", "text": string_at(block, "text", where)}
    value = pack(object_from(block[kind], f"'{kind}' of {where}"))
    if kind == "toolUse":
        string_at(value, "name", f"'toolUse' of {where}")
    elif kind == "toolResult":
        string_at(value, "toolUseId", f"'toolResult' of {where}")
        if not isinstance(value.get("content"), list):
            raise ValueError(
                f"'content' of 'toolResult' of {where} must be a list, not {kind_of(value.get('content'))}"
            )
    return {"type": _PREFIX + kind, kind: value}


def _untyped(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: unpack(value) for key, value in block.items() if key != "type"}


def _is_result(block: Mapping[str, Any]) -> bool:
    return "toolResult" in block


def _read_block(reader: MessageReader, block: dict[str, Any]) -> None:
    if block["type"] == "text":
        reader.text(block["text"])
    elif "toolUse" in block:
        use = block["toolUse"]
        id, arguments = use.get("toolUseId"), arguments_object(use.get("input"))
        call = {"id": id if isinstance(id, str) and id else minted_id(), "name": use["name"], "arguments": arguments}
        reader.call(call, {key: value for key, value in use.items() if key not in ("toolUseId", "name", "input")})
    elif "toolResult" in block:
        answer = block["toolResult"]
        result = {"tool_call_id": answer["toolUseId"] or minted_id(), "result": answer["content"]}
        is_error = answer.get("status") == "error"
        if is_error:
            result["is_error"] = True
        known = ("toolUseId", "content", "status") if is_error else ("toolUseId", "content")
        reader.result(result, {key: value for key, value in answer.items() if key not in known}, is_own=True)
    else:
        reader.block(block, bound=block["type"] in _BOUND)


def to_bedrock_converse(context: Iterable[AnyMessage], *, model: str | None = None) -> dict[str, Any]:
    """The messages as `messages`, and `system` where there is a system prompt: arguments of boto3's `converse`.

    Messages from `from_bedrock_converse` come back as they were. Reasoning that another model than `model` wrote is
    left out. `convert` tells what is left out.
    """
    return write(context, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> dict[str, Any]:
    """The request of `to_bedrock_converse`, with an account of what it leaves out."""
    writer = _Writer(report, model)
    system: list[Any] = []
    messages: list[dict[str, Any]] = []
    for message, kept in to_write(context, report, FORMAT):
        content = writer.items(message, kept)
        role = "user" if message.role == "tool" else message.role
        if not content:
            report.lose("message", "empty")
            content = [{"text": NO_WORDS}] if asks_without_words(message, messages) else []
        if not content:
            continue
        if role == "system" and not (kept and kept.get("middle")):
            system.extend(content)
        elif messages and messages[-1]["role"] == role:
            messages[-1]["content"] = _results_first([*messages[-1]["content"], *content])
        else:
            messages.append({"role": role, "content": content, **unpack((kept or {}).get("message", {}))})
    for written in messages:
        _add_words(written["content"])
    return {"messages": messages, **({"system": system} if system else {})}


def _results_first(content: list[Any]) -> list[Any]:
    """The blocks of joined messages: an answer that was late stands before what was asked meanwhile."""
    return sorted(content, key=lambda block: "toolResult" not in block)


def _add_words(content: list[Any]) -> None:
    """Add the name of a document where no words stand beside it: Converse refuses it without."""
    documents = [block["document"] for block in content if "document" in block]
    if documents and not any("text" in block for block in content):
        content.append({"text": documents[0]["name"]})


class _Writer(MessageWriter):
    format = FORMAT
    bound = _BOUND

    def own(self, block: dict[str, Any]) -> Any:
        return _untyped(block)

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            if part.text.strip():
                return {"text": part.text}
            self.report.lose("text", "empty")
            return None
        if self.role not in ("user", "tool"):
            self.report.lose(part.kind, "not allowed here")
            return None
        block = _media_block(part)
        if block is None:
            self.report.lose(part.kind, "no equivalent")
        return block

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        use = {"toolUseId": _id(call.id), "name": safe_name(call.name), "input": arguments_object(call.arguments)}
        return {"toolUse": {**use, **extra}}

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        value: object = result.value
        if self.is_own and isinstance(value, list):
            content = [unpack(item) for item in cast("list[object]", value)]
        else:
            content = self.result_items(result.value)
        answer: dict[str, Any] = {"toolUseId": _id(result.call_id), "content": content}
        if result.is_error:
            answer["status"] = "error"
        return {"toolResult": {**answer, **extra}}


def _id(call_id: str) -> str:
    return safe_id(call_id, "a-zA-Z0-9_.:-")


def _media_block(media: Media) -> dict[str, Any] | None:
    """The block for media with data: Converse reads no URLs."""
    data = from_base64(media.data)
    if not data:
        return None
    source = {"bytes": data}
    if media.mime in _IMAGES:
        return {"image": {"format": _IMAGES[media.mime], "source": source}}
    if media.mime in _VIDEOS:
        return {"video": {"format": _VIDEOS[media.mime], "source": source}}
    if media.mime in _DOCUMENTS:
        # Converse takes few characters in a name, and the name becomes part of the prompt.
        name = re.sub(r"\s+", " ", re.sub(r"[^a-zA-Z0-9\s()\[\]-]", " ", media.name)).strip()[:200]
        return {"document": {"format": _DOCUMENTS[media.mime], "name": name or "document", "source": source}}
    return None
