"""Changed copies of messages for a view: other ids and arguments of calls, other texts of results, fewer of both.

Calls and results lie in a message's metadata, or as blocks in its content, in the form of the provider that wrote them.
The functions here keep that form. Stored messages are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from session_continuity.blocks.parts import Call, Place
from session_continuity.model_base import copied
from session_continuity.models import Message, MessageMetadata, Role, ToolResult, stored_message

__all__ = ["answer_to", "changed", "with_call", "with_result", "without"]

_NO_METADATA = MessageMetadata()
_FAILED = ToolResult(tool_call_id="call", is_error=True)

Block = dict[str, Any]
Path = tuple[str, ...]


class _Form(NamedTuple):
    """Where a block keeps the id, and the arguments of a call or the value of a result."""

    id: Path
    value: Path
    as_text_blocks: bool = False
    """Whether the value is a list of `{"text": …}`."""


_CALLS: Mapping[str, _Form] = {
    "tool_use": _Form(("id",), ("input",)),
    "tool_call": _Form(("id",), ("args",)),
    "function_call": _Form(("call_id",), ("arguments",)),
    "custom_tool_call": _Form(("call_id",), ("input",)),
    "toolUse": _Form(("toolUse", "toolUseId"), ("toolUse", "input")),
    "gemini_call": _Form(("function_call", "id"), ("function_call", "args")),
    "ui": _Form(("toolCallId",), ("input",)),
}
_RESULTS: Mapping[str, _Form] = {
    "tool_result": _Form(("tool_use_id",), ("content",)),
    "function_call_output": _Form(("call_id",), ("output",)),
    "toolResult": _Form(("toolResult", "toolUseId"), ("toolResult", "content"), as_text_blocks=True),
    "gemini_response": _Form(("function_response", "id"), ("function_response", "response", "output")),
    "ui": _Form(("toolCallId",), ("output",)),
}


def _form(block: Mapping[str, Any], forms: Mapping[str, _Form]) -> _Form | None:
    kind = str(block.get("type", ""))
    if kind in forms:
        return forms[kind]
    if "toolUse" in block or "toolResult" in block:
        return forms.get("toolUse") or forms.get("toolResult")
    for key, name in (("function_call", "gemini_call"), ("function_response", "gemini_response")):
        camel = key.replace("_c", "C").replace("_r", "R")
        if (key in block or camel in block) and name in forms:
            form = forms[name]
            return form if key in block else _Form((camel, *form.id[1:]), (camel, *form.value[1:]))
    if kind.endswith("_call_output"):
        return forms.get("function_call_output")
    if kind.endswith("_call"):
        return forms.get("custom_tool_call")
    return forms["ui"] if "toolCallId" in block else None


def _put(block: Mapping[str, Any], path: Path, value: Any) -> Block:
    """A copy of the block with this value at the path."""
    key, *rest = path
    inner = block.get(key)
    if rest:
        value = _put(cast("Block", inner) if isinstance(inner, dict) else {}, tuple(rest), value)
    return {**block, key: value}


def changed(message: Message, **fields: Any) -> Message:
    """A copy of the message with other fields, not validated again and without a token count."""
    return copied(message, **{"token_count": None, **fields})


def _with_metadata(message: Message, **fields: Any) -> Message:
    return changed(message, metadata=copied(message.metadata, **fields))


def _with_block(message: Message, index: int, block: Block) -> Message:
    blocks = list(cast("list[Block]", message.content))
    blocks[index] = block
    return changed(message, content=blocks)


def with_call(message: Message, place: Place, *, call_id: str | None = None, arguments: Any = None) -> Message:
    """The message with another id or other arguments of the call at this place."""
    kind, index = place
    if kind == "tool_calls":
        calls = list(message.metadata.tool_calls)
        update = {"id": call_id, "arguments": arguments}
        calls[index] = copied(calls[index], **{key: value for key, value in update.items() if value is not None})
        return _with_metadata(message, tool_calls=calls)
    block = cast("Block", message.content[index])
    if (form := _form(block, _CALLS)) is None:
        return message
    if call_id is not None:
        block = _put(block, form.id, call_id)
    return _with_block(message, index, block if arguments is None else _put(block, form.value, arguments))


def with_result(message: Message, place: Place, *, call_id: str | None = None, text: str | None = None) -> Message:
    """The message with another call's id or another text of the result at this place."""
    kind, index = place
    if kind == "tool_results":
        return _with_typed_result(message, index, call_id, text)
    block = cast("Block", message.content[index])
    if (form := _form(block, _RESULTS)) is None:
        return message
    if call_id is not None:
        block = _put(block, form.id, call_id)
    if text is not None:
        block = _put(block, form.value, [{"text": text}] if form.as_text_blocks else text)
    return _with_block(message, index, block)


def _with_typed_result(message: Message, index: int, call_id: str | None, text: str | None) -> Message:
    results = list(message.metadata.tool_results)
    update = {"tool_call_id": call_id, "result": text}
    results[index] = copied(results[index], **{key: value for key, value in update.items() if value is not None})
    copy = _with_metadata(message, tool_results=results)
    repeats = text is not None and len(results) == 1 and message.content
    return changed(copy, content=text) if repeats else copy


def without(message: Message, places: Sequence[Place]) -> Message:
    """The message without the calls and results at these places. A content that repeats a removed result goes too."""
    removed = set(places)
    content, metadata = message.content, message.metadata
    results = [item for index, item in enumerate(metadata.tool_results) if ("tool_results", index) not in removed]
    calls = [item for index, item in enumerate(metadata.tool_calls) if ("tool_calls", index) not in removed]
    if not isinstance(content, str):
        content = [block for index, block in enumerate(content) if ("content", index) not in removed]
    if message.role == "tool" and len(results) < len(metadata.tool_results):
        content = "" if isinstance(content, str) else content
    return changed(message, content=content, metadata=copied(metadata, tool_calls=calls, tool_results=results))


def answer_to(message: Message, call: Call, text: str, message_id: str) -> Message:
    """A message that answers the call of this message with an error of this text, in the form of the call."""
    role: Role = "tool"
    content: str | list[Block] = ""
    results: list[ToolResult] = []
    kind, index = call.place
    if kind == "tool_calls":
        results = [copied(_FAILED, tool_call_id=call.id, result=text, name=call.name)]
    else:
        block = cast("Block", message.content[index])
        role, answer = _block_answer(block, call, text)
        content = [answer]
    return stored_message(
        id=message_id,
        session_id=message.session_id,
        role=role,
        content=content,
        metadata=copied(_NO_METADATA, tool_results=results),
        token_count=None,
        created_at=message.created_at,
    )


def _block_answer(block: Mapping[str, Any], call: Call, text: str) -> tuple[Role, Block]:
    """The role and the block of an answer, for the provider that wrote the call's block."""
    kind = str(block.get("type", ""))
    if "toolUse" in block:
        answer = {"toolUseId": call.id, "content": [{"text": text}], "status": "error"}
        return "user", {"type": "bedrock:toolResult", "toolResult": answer}
    if "functionCall" in block or isinstance(block.get("function_call"), dict):
        named = {"id": call.id} if call.id else {}
        return "user", {
            "type": "gemini:function_response",
            "function_response": {**named, "name": call.name, "response": {"error": text}},
        }
    if kind.endswith("_call"):
        return "tool", {"type": f"{kind}_output", "call_id": call.id, "output": text}
    return "user", {"type": "tool_result", "tool_use_id": call.id, "content": text, "is_error": True}
