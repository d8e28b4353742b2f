"""Conversion between the OpenAI chat format and this project's messages. Pure; OpenAI's package is not needed.

    messages = from_openai([response.choices[0].message], model=response.model)
    client.chat.completions.create(model=model, messages=to_openai(context))

Some parts of a chat message have no field here: `name`, `refusal`, `reasoning_content`, unknown keys, the difference
between null and empty content, and the roles `developer` and `function`. `from_openai` stores them in
`metadata.annotations["openai"]`, and `to_openai` writes them back. There, `tool_calls` holds the further keys of calls
by their ids, `$model` the model that wrote the reasoning, and `$blocks` marks blocks that a message of this role may
not have elsewhere. Other annotations belong to the application and are not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, cast

from pydantic import ValidationError as PydanticError

from session_continuity.blocks.model_names import is_openai
from session_continuity.blocks.parts import Call, Media, Result, Text
from session_continuity.formats.checks import (
    ChatFormatError,
    choice_at,
    kind_of,
    numbered,
    object_from,
    refuse_keys,
    string_at,
)
from session_continuity.formats.reading import ABSENT, difference, minted_id, restored
from session_continuity.formats.recognition import foreign_block, hint
from session_continuity.formats.writing import (
    FORMATS,
    AnyMessage,
    MessageWriter,
    Report,
    answers_behind_calls,
    extras_of,
    hashed_id,
)
from session_continuity.models import NewMessage, ToolCall
from session_continuity.values import check_block

__all__ = ["ChatFormatError", "from_openai", "to_openai"]

FORMAT = "openai"
_NAME = "openai_chat"

_ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_MODEL, _OWN = "$model", "$blocks"
_LONGEST_ID = 40
"""Of a call, in characters, for OpenAI's own models. Other services put signatures of thousands into it."""
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
"""The keys under which services send reasoning beside the content."""
_BLOCKS: Mapping[str, Set[str]] = {
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "system": {"text"},
    "tool": {"text"},
}
"""The types of blocks that a message of a role may have."""


def from_openai(chat: Iterable[object], *, model: str | None = None) -> list[NewMessage]:
    """The messages of a chat, ready for `add_messages`; they have no ids.

    Each item is a JSON object as `json.loads` returns it, or the message object of a client library
    (`response.choices[0].message`). A call without an id gets one, and an answer without one belongs to the oldest
    call that has no answer. A deprecated `function_call` becomes a tool call with a generated id. The `function`
    message that answers it becomes its result. `model` is the model that wrote the answers; signed reasoning is then
    not sent to another.

    Raises ChatFormatError for a message that is not in the format, and ValidationError if `chat` is not a list.
    """
    return list(numbered(chat, _Reader(model).read))


class _Reader:
    def __init__(self, model: str | None) -> None:
        self._model = model
        self._function_call = ""
        self._open: list[str] = []

    def read(self, number: int, raw: object) -> Iterator[NewMessage]:
        fields = object_from(raw, "a message")
        if fields.get("function_call"):
            self._function_call = f"function-call-{number}"
        try:
            refuse_keys(fields, "parts", "toolInvocations")
            yield self._message(fields)
        except PydanticError:
            raise  # a field of the message is wrong, not the format
        except ValueError as error:
            found = hint(raw, _NAME)
            raise (ValueError(f"{error}{found}") if found else error) from None

    def _message(self, raw: dict[str, Any]) -> NewMessage:
        role = _ROLES[choice_at(raw, "role", list(_ROLES))]
        raw = self._completed(raw)
        content = _content(raw, may_be_null=role in ("assistant", "tool"))
        fields: dict[str, Any] = {"role": role, "content": content}
        kept = {
            key: value for key, value in raw.items() if key not in ("role", "content", "tool_calls", "tool_call_id")
        }
        if raw["role"] != role:
            kept["role"] = raw["role"]
        if raw.get("content") is None:
            kept["content"] = None
        if not isinstance(content, str) and any(block["type"] not in _BLOCKS[role] for block in content):
            kept[_OWN] = True
        metadata: dict[str, Any] = {}
        if role == "assistant":
            metadata["tool_calls"] = self._calls(raw, kept)
        elif role == "tool":
            metadata["tool_results"] = [self._result(raw, content)]
        if "tool_calls" in raw and role != "assistant":
            kept["tool_calls"] = raw["tool_calls"]
        if "tool_call_id" in raw and raw["role"] != "tool":
            kept["tool_call_id"] = raw["tool_call_id"]
        if self._model and not kept.keys().isdisjoint(_REASONING):
            kept[_MODEL] = self._model
        if kept:
            metadata["annotations"] = {FORMAT: kept}
        if metadata:
            fields["metadata"] = metadata
        return NewMessage(**fields)

    def _completed(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The message with ids where they are missing, and without an empty list of calls."""
        calls = raw.get("tool_calls")
        if raw["role"] == "assistant":
            if calls == []:
                return {key: value for key, value in raw.items() if key != "tool_calls"}
            if isinstance(calls, list):
                listed = [_completed_call(call) for call in cast("list[object]", calls)]
                self._open += [call["id"] for call in listed if isinstance(call, dict) and isinstance(call["id"], str)]
                return {**raw, "tool_calls": listed}
        elif raw["role"] == "tool":
            call_id = raw.get("tool_call_id")
            if call_id in (None, "") and self._open:
                call_id = self._open[0]
                raw = {**raw, "tool_call_id": call_id}
            if call_id in self._open:
                self._open.remove(call_id)
        return raw

    def _calls(self, raw: Mapping[str, Any], kept: dict[str, Any]) -> list[dict[str, Any]]:
        calls = raw.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise ValueError(f"'tool_calls' must be a list, not {kind_of(calls)}")
        if not raw.get("function_call"):
            if calls is None and "tool_calls" in raw:
                kept["tool_calls"] = None
            return [_call(call, place, kept) for place, call in enumerate(cast("list[object]", calls or []), 1)]
        if calls:
            raise ValueError("a message must not have both 'tool_calls' and the older 'function_call'")
        function = object_from(raw["function_call"], "'function_call'")
        arguments = _arguments(function, "arguments", "'function_call'")
        name = string_at(function, "name", "'function_call'")
        if "tool_calls" in raw:
            kept["tool_calls"] = None
        return [{"id": self._function_call, "name": name, "arguments": arguments}]

    def _result(self, raw: Mapping[str, Any], content: Any) -> dict[str, Any]:
        name = raw.get("name")
        if raw["role"] == "function":
            name = string_at(raw, "name", "a function message")
            return {"tool_call_id": self._function_call or name or "function", "result": content, "name": name}
        call_id = string_at(raw, "tool_call_id", "a tool message")
        return {"tool_call_id": call_id, "result": content, "name": name if isinstance(name, str) else None}


def _completed_call(call: object) -> object:
    if not isinstance(call, dict):
        return call
    fields = cast("dict[str, Any]", call)
    return fields if fields.get("id") not in (None, "") else {**fields, "id": minted_id()}


def _content(raw: Mapping[str, Any], *, may_be_null: bool) -> str | list[Any]:
    content = raw.get("content")
    if isinstance(content, str):
        return content
    if content is None and may_be_null:
        return ""
    if not isinstance(content, list):
        only = "; an assistant's message may have null" if content is None else ""
        raise ValueError(f"'content' must be a string or a list of blocks, not {kind_of(content)}{only}")
    blocks: list[Any] = raw["content"]
    for place, block in enumerate(blocks, 1):
        _check_block(block, f"content block {place}")
    return blocks


def _check_block(raw: object, where: str) -> None:
    block = object_from(raw, where)
    try:
        check_block(block)
    except ValueError as error:
        raise ValueError(f"{where} {error}") from None
    is_anthropic = block["type"] in ("image", "document") and isinstance(block.get("source"), dict)
    if is_anthropic or foreign_block(block["type"], _NAME):
        raise ValueError(f"{where} has the type {block['type']!r}")


def _call(raw: object, place: int, kept: dict[str, Any]) -> dict[str, Any]:
    where = f"tool call {place}"
    call = object_from(raw, where)
    kind, key = _shape(call)
    function = object_from(call.get(kind), f"'{kind}' of {where}")
    typed: dict[str, Any] = {
        "id": string_at(call, "id", where),
        "name": string_at(function, "name", where),
        "arguments": _arguments(function, key, where),
    }
    extra = _call_extra(call, function, kind, key)
    if extra or typed["id"] in kept.get("tool_calls", {}):
        _keep_extra(kept, typed["id"], extra)
    return typed


def _keep_extra(kept: dict[str, Any], call_id: str, extra: dict[str, Any]) -> None:
    """Keep the further keys of a call; in a list where an earlier call has the same id."""
    extras = kept.setdefault("tool_calls", {})
    earlier = extras.get(call_id)
    if earlier is None:
        extras[call_id] = extra
    else:
        extras[call_id] = [*(earlier if isinstance(earlier, list) else [earlier]), extra]


def _shape(call: Mapping[str, Any]) -> tuple[str, str]:
    """Where the function of a call is, and where its arguments are in it."""
    return ("custom", "input") if call.get("type") == "custom" else ("function", "arguments")


def _call_extra(call: dict[str, Any], function: dict[str, Any], kind: str, key: str) -> dict[str, Any]:
    """The further keys of a call and, under `in`, those of its function."""
    extra = {name: value for name, value in call.items() if name not in ("id", kind) and (name, value) != _USUAL_TYPE}
    if "type" not in call:
        extra[ABSENT] = ["type"]
    if function.keys() != {"name", key} or function[key] is None:
        extra["in"] = difference(function, {"name": "", key: ""}, ("name", key))
    return {name: value for name, value in extra.items() if value != {}}


_USUAL_TYPE = ("type", "function")


def _arguments(function: Mapping[str, Any], key: str, where: str) -> str | dict[str, Any]:
    arguments = function.get(key)
    if arguments is None:
        return ""
    if not isinstance(arguments, (str, dict)):
        raise ValueError(f"{where} must have a string or an object as its '{key}', not {kind_of(arguments)}")
    return cast("str | dict[str, Any]", arguments)


def to_openai(messages: Iterable[AnyMessage], *, model: str | None = None) -> list[dict[str, Any]]:
    """The messages as a chat that OpenAI's API accepts: `to_openai(manager.get_conversation_context(session_id))`.

    Messages from `from_openai` come back as they were, with null for content that was missing, and empty content where
    the API refuses null. Blocks of other formats are translated where OpenAI has something like them. An answer to a
    tool call is moved directly behind its call, because the API refuses messages between the two. If a message with
    one tool result has no content, the result becomes its content. A message with several tool results becomes one
    chat message for each. Signed reasoning of another model than `model` is left out. If `model` is one of OpenAI's,
    ids of calls that are too long for it are replaced. `convert` tells what is left out.
    """
    return write(messages, Report(), model)


def write(context: Iterable[AnyMessage], report: Report, model: str | None) -> list[dict[str, Any]]:
    """The chat of `to_openai`, with an account of what it leaves out."""
    writer = _Writer(report, model)
    messages = answers_behind_calls(context)
    writer.answered = {
        result.tool_call_id
        for message in messages
        if _annotation(message).get("role") != "function"
        for result in message.metadata.tool_results
    }
    chat: list[dict[str, Any]] = []
    for report.message, message in enumerate(messages, 1):
        chat.extend(_to_chat(writer, message))
    return [_with_short_ids(written) for written in chat] if model and is_openai(model) else chat


def _with_short_ids(written: dict[str, Any]) -> dict[str, Any]:
    """The chat message with ids of calls that OpenAI's models take."""
    calls, answered = written.get("tool_calls"), written.get("tool_call_id")
    if calls:
        written = {**written, "tool_calls": [{**call, "id": _short_id(call["id"])} for call in calls]}
    return {**written, "tool_call_id": _short_id(answered)} if isinstance(answered, str) else written


def _short_id(call_id: str) -> str:
    return call_id if len(call_id) <= _LONGEST_ID else hashed_id(call_id)


def _to_chat(writer: _Writer, message: AnyMessage) -> Iterator[dict[str, Any]]:
    metadata = message.metadata
    if message.content.__class__ is str and not (metadata.tool_calls or metadata.tool_results or metadata.annotations):
        yield {"role": message.role, "content": message.content}
        return
    kept = writer.unbound(_annotation(message))
    if kept.get("function_call"):
        kept = _with_function_call(kept, metadata.tool_calls, writer.answered)
    writer.lose_foreign(message)
    is_function = kept.get("role") == "function"
    own_extras = kept.get("tool_calls") if isinstance(kept.get("tool_calls"), dict) else None
    rest = {
        key: value
        for key, value in kept.items()
        if key not in (_MODEL, _OWN) and (key != "tool_calls" or own_extras is None)
    }
    calls = [] if kept.get("function_call") else metadata.tool_calls
    written = [
        writer.call(Call(call.id, call.name, call.arguments), extra)
        for call, extra in extras_of(own_extras, calls, "id")
    ]
    results = [] if is_function else metadata.tool_results
    if len(results) <= 1 or message.role != "tool":
        yield from writer.message(message, written, kept, rest)
    for result in results if len(results) > 1 or message.role != "tool" else ():
        value = writer.answer(result.result)
        yield {"role": "tool", "tool_call_id": result.tool_call_id, "content": value, **rest}


def _with_function_call(kept: Mapping[str, Any], calls: Sequence[ToolCall], answered: Set[str]) -> dict[str, Any]:
    """The annotation with the arguments that the call has now. Without the older form of the call, if the call has gone
    or its answer has the newer form."""
    rest = {key: value for key, value in kept.items() if key != "function_call"}
    if not calls or calls[0].id in answered:
        return rest
    function, arguments = kept["function_call"], calls[0].arguments
    if (function.get("arguments") or "") != arguments:
        function = {**function, "arguments": arguments}
    return {**rest, "function_call": function}


def _annotation(message: AnyMessage) -> Mapping[str, Any]:
    """The parts of the chat message in the annotation, without those that an edit has replaced since."""
    kept = message.metadata.annotations.get(FORMAT)
    if not isinstance(kept, dict):
        return {}
    fields = cast("dict[str, Any]", kept)
    if "content" in fields and message.content:
        fields = {key: value for key, value in fields.items() if key != "content"}
    if "role" in fields and _ROLES.get(str(fields["role"])) != message.role:
        fields = {key: value for key, value in fields.items() if key != "role"}
    return fields


class _Writer(MessageWriter):
    format = FORMAT
    answered: Set[str] = frozenset()
    """The ids of calls that a tool message answers, and not the older function message."""

    def message(
        self, message: AnyMessage, calls: list[Any], kept: Mapping[str, Any], rest: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The chat message for a message with at most one result; none if nothing of it can be told."""
        content, moved = self._content(message, kept)
        fields: dict[str, Any] = {"role": message.role, "content": content}
        calls = [*calls, *(block for block in moved if "function" in block)]
        if calls:
            fields["tool_calls"] = calls
        results = message.metadata.tool_results if message.role == "tool" and kept.get("role") != "function" else ()
        for result in results:
            fields["tool_call_id"] = result.tool_call_id
            if not message.content:
                fields["content"] = self.answer(result.result)
        fields.update(rest)
        if fields["content"] is None and not _may_lack_content(fields):
            fields["content"] = ""
        answers = [block for block in moved if "tool_call_id" in block]
        if not answers or content or calls:
            if message.content and not content and not calls and not rest:
                self.report.lose("message", "empty")
            else:
                yield fields
        yield from answers

    def _content(self, message: AnyMessage, kept: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """The content, and the calls and answers that stand in blocks of other formats."""
        content = message.content
        if isinstance(content, str):
            return content, []
        if kept.get(_OWN):
            return content, []
        self.role, allowed = message.role, _BLOCKS[message.role]
        blocks: list[Any] = []
        is_foreign = not FORMATS.isdisjoint(message.metadata.annotations.keys() - {FORMAT})
        for block in content:
            is_usual = block["type"] in allowed and not (block["type"] == "file" and "file" not in block)
            blocks += [block] if is_usual and not is_foreign else self._block(block, None)
        moved = [block for block in blocks if "type" not in block or "function" in block]
        return [block for block in blocks if block not in moved] or "", moved

    def part(self, part: Text | Media) -> Any:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if self.role != "user":
            self.report.lose(part.kind, "not allowed here")
            return None
        url = part.url or (f"data:{part.mime};base64,{part.data}" if part.data and part.mime else "")
        if part.kind == "image" and url:
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        if part.kind == "audio" and part.data:
            format = "mp3" if part.mime in ("audio/mp3", "audio/mpeg") else part.mime.removeprefix("audio/")
            if format in ("mp3", "wav"):
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": format}}
        if part.kind == "file" and part.data and part.mime:
            return {"type": "file", "file": {"file_data": url, "filename": part.name or "file"}}
        self.report.lose(part.kind, "no equivalent")
        return None

    def lose_foreign(self, message: AnyMessage) -> None:
        """Note what another format has beside the calls and results of a message."""
        if message.metadata.annotations and FORMAT not in message.metadata.annotations:
            self.beside(message)
        if any(result.is_error for result in message.metadata.tool_results):
            self.report.lose("is_error", "no equivalent")

    def call(self, call: Call, extra: Mapping[str, Any]) -> Any:
        arguments = call.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        kind, key = _shape(extra)
        function = restored({"name": call.name, key: arguments}, extra.get("in"))
        rest = {name: value for name, value in extra.items() if name != "in"} if extra else extra
        return restored({"id": call.id, "type": "function", kind: function}, rest)

    def result(self, result: Result, extra: Mapping[str, Any]) -> Any:
        return {"role": "tool", "tool_call_id": result.call_id, "content": self.answer(result.value), **extra}

    def answer(self, value: Any) -> Any:
        """The content of a message that answers a call."""
        if value is None or value == []:
            return ""
        if isinstance(value, list):
            items = self.result_items(value)
            return "\n".join(item["text"] for item in items)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def unbound(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.model is None or extra.get(_MODEL) in (None, self.model):
            return extra
        for key in _REASONING:
            if key in extra:
                self.report.lose(key, "other model")
        return {key: value for key, value in extra.items() if key not in _REASONING}


def _may_lack_content(fields: Mapping[str, Any]) -> bool:
    """Whether the API takes null as the content of a message with these fields."""
    instead: Sequence[str] = ("tool_calls", "function_call", "refusal", "audio")
    return fields["role"] == "assistant" and any(fields.get(key) for key in instead)
