"""The blocks of each provider as parts. A reader is chosen by the type of a block."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from session_continuity.blocks.fields import items_at, media_at_url, media_kind, object_at, string_at
from session_continuity.blocks.parts import (
    NOWHERE,
    Block,
    Call,
    Media,
    MediaKind,
    Other,
    Part,
    Place,
    Reasoning,
    Result,
    Text,
    json_text,
)

__all__ = ["parts_beside", "parts_of_block", "parts_of_value"]

_Reader: TypeAlias = Callable[[Any, Place], Iterable[Part] | None]
"""Reads a block of one type. None for a block that is malformed."""


# What several providers have in common


def _text_block(block: Block, place: Place) -> Part:
    text = block.get("text")
    if not isinstance(text, str):
        return Other(block, place)
    return Text(text, place)


def _refusal(block: Block, place: Place) -> Iterable[Part] | None:
    text = string_at(block, "refusal")
    return (Text(text, place, refusal=True),) if text else None


def _media(kind: MediaKind, block: Block, place: Place) -> Iterable[Part] | None:
    """Media of LangChain or MCP, which have their source directly in the block."""
    mime, name = string_at(block, "mime_type", "media_type", "mimeType"), string_at(block, "filename", "name")
    data, url = string_at(block, "base64", "data"), string_at(block, "url")
    file_id = string_at(block, "file_id", "id")
    if data:
        return (Media(kind, mime, data=data, name=name, place=place),)
    if url:
        return (media_at_url(url, kind, place, mime=mime, name=name),)
    return (Media(kind, mime, file_id=file_id, name=name, place=place),) if file_id else None


# OpenAI chat


def parts_beside(kept: object) -> Iterator[Part]:
    """What a chat message has beside its content: reasoning, a refusal."""
    if not isinstance(kept, dict):
        return
    fields = cast("dict[str, Any]", kept)
    place = ("annotations", 0)
    reasoning = fields.get("reasoning_content") or fields.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        yield Reasoning(reasoning, "", place)
    for block in [*items_at(fields, "thinking_blocks"), *items_at(fields, "reasoning_details")]:
        if isinstance(block, dict):
            yield from _reasoning_detail(cast("Block", block), place)
    if refusal := string_at(fields, "refusal"):
        yield Text(refusal, place, refusal=True)


def _reasoning_detail(block: Block, place: Place) -> Iterable[Part]:
    text = string_at(block, "thinking", "text", "summary")
    return (Reasoning(text, string_at(block, "signature", "data"), place),)


def _image_url(block: Block, place: Place) -> Iterable[Part] | None:
    image = block.get("image_url")
    url = image if isinstance(image, str) else string_at(image, "url")
    return (
        (media_at_url(url, "image", place, detail=string_at(image, "detail") or string_at(block, "detail")),)
        if url
        else None
    )


def _input_audio(block: Block, place: Place) -> Iterable[Part] | None:
    audio = object_at(block, "input_audio")
    mime = f"audio/{string_at(audio, 'format') or 'wav'}"
    return (Media("audio", mime, data=string_at(audio, "data"), place=place),) if audio else None


def _file(block: Block, place: Place) -> Iterable[Part] | None:
    """A file of a chat (in `file`), of Responses (`input_file`) or of a UI message (with a media type)."""
    file = object_at(block, "file") or block
    mime, name = string_at(file, "mediaType", "mime_type", "mimeType"), string_at(file, "filename", "name")
    data, url = string_at(file, "file_data", "base64"), string_at(file, "file_url", "url")
    if data and not data.startswith("data:"):
        return (Media(media_kind(mime), mime, data=data, name=name, place=place),)
    if data or url:
        stated = mime or (data or url)[5:].partition(";")[0] if (data or url).startswith("data:") else mime
        return (media_at_url(data or url, media_kind(stated), place, mime=stated, name=name),)
    file_id = string_at(file, "file_id")
    return (Media(media_kind(mime), mime, file_id=file_id, name=name, place=place),) if file_id else None


# OpenAI Responses


def _output_text(block: Block, place: Place) -> Iterable[Part] | None:
    text = block.get("text")
    return (Text(text, place),) if isinstance(text, str) else None


def _input_image(block: Block, place: Place) -> Iterable[Part] | None:
    url, file_id, detail = string_at(block, "image_url"), string_at(block, "file_id"), string_at(block, "detail")
    if url:
        return (media_at_url(url, "image", place, detail=detail),)
    return (Media("image", file_id=file_id, detail=detail, place=place),) if file_id else None


def _reasoning_item(block: Block, place: Place) -> Iterable[Part]:
    """A `reasoning` item of Responses, or a `reasoning` part of a UI message or of LangChain."""
    texts = [string_at(part, "text") for part in [*items_at(block, "content"), *items_at(block, "summary")]]
    text = string_at(block, "text", "reasoning") or "\n".join(filter(None, texts))
    return (Reasoning(text, string_at(block, "encrypted_content"), place),)


def _message_item(block: Block, place: Place) -> Iterable[Part]:
    return parts_of_value(block.get("content"), place)


def _call_item(block: Block, place: Place) -> Iterable[Part] | None:
    call_id = block.get("call_id")
    if not isinstance(call_id, str):
        return None  # a tool that OpenAI runs, such as web_search_call
    keys = ("arguments", "input", "action", "operation")
    arguments = next((block[key] for key in keys if block.get(key) is not None), "")
    return (Call(call_id, string_at(block, "name", "type"), arguments, place),)


def _output_item(block: Block, place: Place) -> Iterable[Part] | None:
    call_id = block.get("call_id")
    if not isinstance(call_id, str):
        return None
    output = block.get("output")
    value: Any = [output] if _is_block(output) else output
    return (Result(call_id, value, string_at(block, "name"), block.get("status") == "incomplete", place),)


def _image_generation(block: Block, place: Place) -> Iterable[Part] | None:
    data = string_at(block, "result")
    return (
        (Media("image", f"image/{string_at(block, 'output_format') or 'png'}", data=data, place=place),)
        if data
        else None
    )


def _by_ending(kind: str) -> _Reader | None:
    """The reader of a type that is told by its beginning or ending."""
    if kind.endswith("_call_output"):
        return _output_item
    if kind.endswith("_call"):
        return _call_item
    return _ui_tool if kind.startswith("tool-") else None


# Anthropic


def _tool_use(block: Block, place: Place) -> Iterable[Part] | None:
    call_id, name = block.get("id"), block.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    return (Call(call_id, name, block.get("input", {}), place),)


def _tool_result(block: Block, place: Place) -> Iterable[Part] | None:
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str):
        return None
    return (Result(call_id, block.get("content"), "", block.get("is_error") is True, place),)


def _thinking(block: Block, place: Place) -> Iterable[Part]:
    thinking = block.get("thinking")
    words = (
        thinking
        if isinstance(thinking, str)
        else "".join(string_at(part, "text") for part in items_at(block, "thinking"))
    )
    return (Reasoning(words, string_at(block, "signature", "data"), place),)


def _joined(parts: Iterable[Any]) -> str:
    return "".join(string_at(part, "text") for part in parts)


def _image(block: Block, place: Place) -> Iterable[Part] | None:
    return _from_source("image", block, place) or _media("image", block, place)


def _document(block: Block, place: Place) -> Iterable[Part] | None:
    source = object_at(block, "source")
    if source.get("type") == "text":
        return (Text(string_at(source, "data"), place),)
    if source.get("type") == "content":
        return parts_of_value(source.get("content"), place)
    return _from_source("file", block, place) or _media("file", block, place)


def _from_source(kind: MediaKind, block: Block, place: Place) -> Iterable[Part] | None:
    source, name = object_at(block, "source"), string_at(block, "title")
    mime = string_at(source, "media_type")
    if source.get("type") == "base64":
        return (Media(kind, mime, data=string_at(source, "data"), name=name, place=place),)
    if source.get("type") == "url":
        mime = mime or ("application/pdf" if kind == "file" else "")
        return (media_at_url(string_at(source, "url"), kind, place, mime=mime, name=name),)
    if source.get("type") == "file":
        return (Media(kind, mime, file_id=string_at(source, "file_id"), name=name, place=place),)
    return None


def _search_result(block: Block, place: Place) -> Iterable[Part] | None:
    texts = [string_at(block, "title"), *(string_at(part, "text") for part in items_at(block, "content"))]
    return (Text("\n".join(filter(None, texts)), place),) if any(texts) else None


# Bedrock Converse


def _converse_media(kind: MediaKind) -> _Reader:
    def read(block: Block, place: Place) -> Iterable[Part] | None:
        media = object_at(block, "image", "document", "video", "audio")
        source, format = object_at(media, "source"), string_at(media, "format")
        mime = _CONVERSE_MIMES.get(format) or (f"{kind}/{format}" if kind != "file" else "application/octet-stream")
        name = string_at(media, "name")
        if "text" in source:
            return (Text(string_at(source, "text"), place),)
        if "content" in source:
            return parts_of_value(source["content"], place)
        if "bytes" in source:
            return (Media(kind, mime, data=_base64(source["bytes"]), name=name, place=place),)
        url = string_at(object_at(source, "s3Location"), "uri")
        return (Media(kind, mime, url=url, name=name, place=place),) if url else None

    return read


_CONVERSE_MIMES: Mapping[str, str] = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "three_gp": "video/3gpp",
}


def _base64(value: Any) -> str:
    """Bytes in base64, from bytes or from the form in which they are stored."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if isinstance(value, str) else string_at(value, "$bytes")


def _tool_use_block(block: Block, place: Place) -> Iterable[Part] | None:
    use = object_at(block, "toolUse")
    call_id, name = use.get("toolUseId"), use.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    return (Call(call_id, name, use.get("input", {}), place),)


def _tool_result_block(block: Block, place: Place) -> Iterable[Part] | None:
    result = object_at(block, "toolResult")
    call_id = result.get("toolUseId")
    if not isinstance(call_id, str):
        return None
    return (Result(call_id, result.get("content"), "", result.get("status") == "error", place),)


def _converse_text(block: Block, place: Place) -> Iterable[Part] | None:
    return (Text(string_at(block, "text"), place),) if isinstance(block.get("text"), str) else None


def _converse_json(block: Block, place: Place) -> Iterable[Part] | None:
    return (Text(json_text(block["json"]), place),) if "json" in block else None


def _reasoning_content(block: Block, place: Place) -> Iterable[Part]:
    content = object_at(block, "reasoningContent")
    text = object_at(content, "reasoningText")
    opaque = string_at(text, "signature") or _base64(content.get("redactedContent"))
    return (Reasoning(string_at(text, "text"), opaque, place),)


def _citations_content(block: Block, place: Place) -> Iterable[Part] | None:
    parts = items_at(object_at(block, "citationsContent"), "content")
    text = _joined(parts)
    return (Text(text, place),) if text else None


def _guard_content(block: Block, place: Place) -> Iterable[Part] | None:
    text = string_at(object_at(object_at(block, "guardContent"), "text"), "text")
    return (Text(text, place),) if text else None


# Gemini


def _function_call(block: Block, place: Place) -> Iterable[Part] | None:
    call = object_at(block, "function_call", "functionCall")
    if not isinstance(call.get("name"), str):
        return None
    return (Call(string_at(call, "id"), call["name"], call.get("args") or {}, place),)


def _function_response(block: Block, place: Place) -> Iterable[Part] | None:
    answer = object_at(block, "function_response", "functionResponse")
    if not isinstance(answer.get("name"), str):
        return None
    response = object_at(answer, "response")
    value = next(iter(response.values())) if set(response) in ({"output"}, {"error"}, {"result"}) else response
    return (Result(string_at(answer, "id"), value, answer["name"], "error" in response, place),)


def _gemini_text(block: Block, place: Place) -> Iterable[Part] | None:
    text = block.get("text")
    if not isinstance(text, str):
        return None
    signature = string_at(block, "thought_signature", "thoughtSignature")
    return (Reasoning(text, signature, place),) if block.get("thought") is True else (Text(text, place),)


def _inline_data(block: Block, place: Place) -> Iterable[Part] | None:
    blob = object_at(block, "inline_data", "inlineData")
    mime, name = string_at(blob, "mime_type", "mimeType"), string_at(blob, "display_name", "displayName")
    data = _base64(blob.get("data")).replace("-", "+").replace("_", "/")
    return (Media(media_kind(mime), mime, data=data, name=name, place=place),) if data else None


def _file_data(block: Block, place: Place) -> Iterable[Part] | None:
    file = object_at(block, "file_data", "fileData")
    mime, name = string_at(file, "mime_type", "mimeType"), string_at(file, "display_name", "displayName")
    url = string_at(file, "file_uri", "fileUri")
    return (Media(media_kind(mime), mime, url=url, name=name, place=place),) if url else None


# UI messages


def _ui_tool(block: Block, place: Place) -> Iterable[Part] | None:
    """A tool's part, which has the call, and its result once there is one."""
    call_id, state = block.get("toolCallId"), block.get("state")
    if not isinstance(call_id, str) or block.get("providerExecuted") is True:
        return None
    name = string_at(block, "toolName") or str(block["type"]).removeprefix("tool-")
    parts: list[Part] = [Call(call_id, name, block.get("input") or {}, place)]
    if state in ("output-available", "output-error"):
        value = block.get("errorText") if state == "output-error" else block.get("output")
        parts.append(Result(call_id, value, name, state == "output-error", place))
    return parts


_READERS: Mapping[str, _Reader] = {
    "refusal": _refusal,
    "image_url": _image_url,
    "input_audio": _input_audio,
    "file": _file,
    "input_file": _file,
    "input_text": _output_text,
    "output_text": _output_text,
    "summary_text": _output_text,
    "reasoning_text": _output_text,
    "input_image": _input_image,
    "computer_screenshot": _input_image,
    "reasoning": _reasoning_item,
    "message": _message_item,
    "image_generation_call": _image_generation,
    "tool_use": _tool_use,
    "tool_call": lambda block, place: _tool_use({**block, "input": block.get("args", {})}, place),
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "audio": lambda block, place: _media("audio", block, place),
    "video": lambda block, place: _media("video", block, place),
    "dynamic-tool": _ui_tool,
    "bedrock:image": _converse_media("image"),
    "bedrock:document": _converse_media("file"),
    "bedrock:video": _converse_media("video"),
    "bedrock:audio": _converse_media("audio"),
    "bedrock:json": _converse_json,
    "bedrock:toolUse": _tool_use_block,
    "bedrock:toolResult": _tool_result_block,
    "bedrock:reasoningContent": _reasoning_content,
    "bedrock:citationsContent": _citations_content,
    "bedrock:guardContent": _guard_content,
    "gemini:text": _gemini_text,
    "gemini:inline_data": _inline_data,
    "gemini:file_data": _file_data,
    "gemini:function_call": _function_call,
    "gemini:function_response": _function_response,
}

_TYPELESS: Mapping[str, _Reader] = {
    "text": _converse_text,
    "toolUse": _tool_use_block,
    "toolResult": _tool_result_block,
    "reasoningContent": _reasoning_content,
    "citationsContent": _citations_content,
    "guardContent": _guard_content,
    "image": _converse_media("image"),
    "document": _converse_media("file"),
    "video": _converse_media("video"),
    "json": _converse_json,
}
"""Readers of Converse's blocks, which have no type, by the one key that each has."""


def parts_of_block(block: Block, place: Place = NOWHERE) -> Iterable[Part]:
    """The parts of one block: usually one; two for a tool's part of a UI message, which has call and result."""
    kind = block.get("type")
    if kind == "text":
        return (_text_block(block, place),)
    reader = _READERS.get(kind) if isinstance(kind, str) else _typeless(block)
    if reader is None and isinstance(kind, str):
        reader = _by_ending(kind)
    found = reader(block, place) if reader is not None else None
    return (Other(block, place),) if found is None else found


def parts_of_value(value: Any, place: Place = NOWHERE) -> Iterator[Part]:
    """The parts that a model reads of a tool's result: a text, a list of blocks, or any other JSON, which is its text.

    A block that is not known counts as JSON, and a list of only such blocks is not a list of blocks. All parts have the
    same place.
    """
    if isinstance(value, str):
        if value:
            yield Text(value, place)
        return
    if isinstance(value, list) and all(_is_block(item) for item in cast("list[object]", value)):
        parts = [part for block in cast("list[Block]", value) for part in parts_of_block(block, place)]
        if not parts or not all(isinstance(part, Other) for part in parts):
            yield from (Text(json_text(part.block), place) if isinstance(part, Other) else part for part in parts)
            return
    if value is not None:
        yield Text(json_text(value), place)


def _is_block(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    block = cast("Block", value)
    return isinstance(block.get("type"), str) or _typeless(block) is not None


def _typeless(block: Block) -> _Reader | None:
    """The reader of one of Converse's blocks as it lies in a tool's result: `{"text": …}`, `{"json": …}`."""
    return next((_TYPELESS.get(key) for key in block), None) if len(block) == 1 else None
