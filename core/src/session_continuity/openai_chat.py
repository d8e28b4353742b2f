"""Messages in the OpenAI chat format ↔ messages here. Pure.

What a message here has no place for (`name`, `refusal`, unknown keys, the difference between null and empty content,
the roles `developer` and `function`) is kept in `metadata.annotations["openai"]`, so that `to_openai` gives back what
came in. Other annotations are the application's own, and stay here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, cast

from pydantic import BaseModel, ValidationError as PydanticError

from session_continuity.errors import ValidationError
from session_continuity.models import Message, MessageMetadata, NewMessage, Role, ToolCall, ToolResult
from session_continuity.validation import several

__all__ = ["ChatFormatError", "from_openai", "to_openai"]

KEPT = "openai"
"""The annotation that holds what a message here has no place for."""

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KINDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    type(None): "null or missing",
    int: "a number",
    float: "a number",
}
_IN_PLACE_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


class ChatFormatError(ValidationError):
    """Message `number` of a chat, counted from 1, is not in the format, for this `reason`."""

    code = "chat_format_error"

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"message {number}: {reason}")
        self.number = number
        self.reason = reason


def from_openai(chat: Iterable[object]) -> list[NewMessage]:
    """The messages of a chat, each a JSON object as `json.loads` gives it or what a client library answers
    (`response.choices[0].message`), ready for `add_messages`. They have no ids yet. Raises ChatFormatError, and
    ValidationError for what is no list.

    A deprecated `function_call` becomes a tool call with an id of its own, and the
    `function` message that answers it its result.
    """
    messages: list[NewMessage] = []
    last_function_call = ""
    for number, raw in enumerate(several(chat, "the chat"), 1):
        try:
            fields = _object(_plain(raw), "a message")
            if fields.get("function_call"):
                last_function_call = f"function-call-{number}"
            messages.append(_message(fields, last_function_call))
        except PydanticError as error:
            raise ChatFormatError(number, _reason(error)) from None
        except ValueError as error:
            raise ChatFormatError(number, str(error)) from None
    return messages


def to_openai(messages: Iterable[Message | NewMessage]) -> list[dict[str, Any]]:
    """The chat that these messages are, as a model's API takes it: `to_openai(manager.get_conversation_context(id))`.

    What came through `from_openai` comes back as it was, content that was missing as null. Only an answer to a tool
    call follows its call directly, also where somebody spoke between the two: models refuse anything else. The result
    of a call is the content of its message, where that has none of its own; a message with the results of several
    becomes a chat message for each.
    """
    return [fields for message in _answers_beside_calls(messages) for fields in _written(message)]


def _answers_beside_calls(messages: Iterable[Message | NewMessage]) -> list[Message | NewMessage]:
    ordered: list[Message | NewMessage] = []
    for message in messages:
        ordered.insert(_place(ordered, {result.tool_call_id for result in _results(message)}), message)
    return ordered


def _place(before: Sequence[Message | NewMessage], answered: Set[str]) -> int:
    """Where an answer to these calls belongs: after the last message that makes one of them and its other answers."""
    end = len(before)
    for place in reversed(range(end if answered else 0)):
        if any(call.id in answered for call in before[place].metadata.tool_calls):
            return next((later for later in range(place + 1, end) if not _results(before[later])), end)
    return end


def _results(message: Message | NewMessage) -> list[ToolResult]:
    """The results that a chat ties to their calls; the older `function` messages stand by themselves."""
    return [] if _kept(message).get("role") == "function" else message.metadata.tool_results


def _written(message: Message | NewMessage) -> list[dict[str, Any]]:
    metadata = message.metadata
    kept = _kept(message)
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if metadata.tool_calls and not kept.get("function_call"):
        fields["tool_calls"] = [_written_call(call) for call in metadata.tool_calls]
    results = _results(message)
    if len(results) > 1:
        return [{**fields, "tool_call_id": result.tool_call_id, "content": _answer(result)} for result in results]
    for result in results:
        fields.update(tool_call_id=result.tool_call_id, content=message.content or _answer(result))
    return [{**fields, **kept}]


def _kept(message: Message | NewMessage) -> Mapping[str, Any]:
    """What was kept of the chat, but for what an edit of the message has replaced since."""
    kept = message.metadata.annotations.get(KEPT)
    if not isinstance(kept, dict):
        return {}
    replaced = {"content"} if message.content else set[str]()
    if _ROLES.get(str(kept.get("role"))) != message.role:
        replaced.add("role")
    return {key: value for key, value in kept.items() if key not in replaced}


def _answer(result: ToolResult) -> str:
    if result.result is None:
        return ""
    return result.result if isinstance(result.result, str) else json.dumps(result.result, ensure_ascii=False)


def _reason(error: PydanticError) -> str:
    """The model's own words, rather than what a branch of a union found missing."""
    problems = error.errors(include_url=False, include_input=False)
    told = next((problem for problem in problems if problem["type"] == "value_error"), problems[0])
    return f"{told['loc'][0]}: {told['msg'].removeprefix('Value error, ')}"


def _message(raw: dict[str, Any], last_function_call: str) -> NewMessage:
    role = _role(raw)
    content = _content(raw, may_lack=role == "assistant" and any(raw.get(key) for key in _IN_PLACE_OF_CONTENT))
    calls = _calls(raw, last_function_call) if role == "assistant" else []
    results = [_result(raw, content, last_function_call)] if role == "tool" else []
    metadata = MessageMetadata(tool_calls=calls, tool_results=results)
    message = NewMessage(role=role, content=content, metadata=metadata)
    lost = _lost({"content": None, **raw}, _written(message)[0])
    if not lost:
        return message
    kept = MessageMetadata(tool_calls=calls, tool_results=results, annotations={KEPT: lost})
    return message.model_copy(update={"metadata": kept})


def _lost(raw: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in kept or kept[key] != value}


def _plain(raw: object) -> object:
    """The JSON object that a client library's own object stands for, without its many nulls."""
    if isinstance(raw, BaseModel) and not isinstance(raw, (Message, NewMessage)):
        return raw.model_dump(mode="json", exclude_none=True)
    return raw


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a JSON object, not {_kind(value)}")
    return cast("dict[str, Any]", value)


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{where} needs '{key}', a text; here it is {_kind(value)}")
    return value


def _role(raw: Mapping[str, Any]) -> Role:
    role = _text(raw, "role", "a message")
    if role not in _ROLES:
        raise ValueError(f"'role' is one of {', '.join(_ROLES)}, not {role[:32]!r}")
    return _ROLES[role]


def _content(raw: Mapping[str, Any], *, may_lack: bool) -> str | list[Any]:
    content = raw.get("content")
    if content is None and may_lack:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        only = " (null only beside tool_calls)" if content is None else ""
        raise ValueError(f"'content' is a text or a list of blocks, not {_kind(content)}{only}")
    blocks: list[Any] = raw["content"]
    for place, block in enumerate(blocks, 1):
        _check_block(_object(block, f"content block {place}"), f"content block {place}")
    return blocks


def _check_block(block: Mapping[str, Any], where: str) -> None:
    kind = _text(block, "type", where)
    if kind == "text":
        _text(block, "text", where)
    elif kind == "image_url" and not isinstance(block.get("image_url"), (str, dict)):
        raise ValueError(f"{where} needs 'image_url', an object with its 'url'")


def _calls(raw: Mapping[str, Any], last_function_call: str) -> list[ToolCall]:
    calls = raw.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise ValueError(f"'tool_calls' is a list, not {_kind(calls)}")
    if not raw.get("function_call"):
        return [_call(call, place) for place, call in enumerate(cast("list[object]", calls or []), 1)]
    if calls:
        raise ValueError("a message has 'tool_calls' or the older 'function_call', not both")
    function = _object(raw["function_call"], "'function_call'")
    return [_called(function, last_function_call, "arguments", "'function_call'")]


def _call(raw: object, place: int) -> ToolCall:
    where = f"tool call {place}"
    call = _object(raw, where)
    kind = call.get("type", "function")
    if kind == "custom":
        return _called(_object(call.get("custom"), f"'custom' of {where}"), _text(call, "id", where), "input", where)
    function = _object(call.get("function"), f"'function' of {where}")
    return _called(function, _text(call, "id", where), "arguments", where)


def _called(function: Mapping[str, Any], call_id: str, arguments: str, where: str) -> ToolCall:
    given = function.get(arguments, "")
    if not isinstance(given, (str, dict)):
        raise ValueError(f"{where} has '{arguments}' that are neither a text nor an object, but {_kind(given)}")
    return ToolCall(id=call_id, name=_text(function, "name", where), arguments=cast("str | dict[str, Any]", given))


def _result(raw: Mapping[str, Any], content: str | list[Any], last_function_call: str) -> ToolResult:
    name = raw.get("name")
    if raw["role"] == "function":
        name = _text(raw, "name", "a function message")
        return ToolResult(tool_call_id=last_function_call or name, result=content, name=name)
    call_id = _text(raw, "tool_call_id", "a tool message")
    return ToolResult(tool_call_id=call_id, result=content, name=name if isinstance(name, str) else None)


def _written_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _kind(value: object) -> str:
    for kind, name in _KINDS.items():
        if isinstance(value, kind):
            return name
    return f"a Python {type(value).__name__}"
