"""Messages of LangChain, as its `message_to_dict` writes them, as messages that everybody can read, and back.

LangChain is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic_core import to_jsonable_python

from session_continuity import Message, NewMessage, Role, replace_invalid_text, stable_id
from session_continuity_agents.keeping import keep, kept, same_json

__all__ = ["FRAMEWORK", "dict_of_message", "message_of_dict"]

FRAMEWORK = "langchain"

_ROLES: Mapping[str, Role] = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
_TYPES = {role: kind for kind, role in _ROLES.items()}
_CALL_BLOCKS = frozenset(["tool_use", "tool_call", "function_call"])
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def message_of_dict(dumped: Mapping[str, Any]) -> NewMessage:
    """The message of an object with the `type` and the `data` of a message of LangChain."""
    data = cast("dict[str, Any]", to_jsonable_python(dumped["data"], fallback=repr, inf_nan_mode="constants"))
    neutral = _neutral(str(dumped["type"]), replace_invalid_text(data))
    plain = _plain(neutral)
    rest = {key: value for key, value in data.items() if not _is_same(plain.get(key), value)}
    return keep(neutral, FRAMEWORK, {"type": dumped["type"], "data": rest})


def dict_of_message(message: Message | NewMessage) -> dict[str, Any] | None:
    """The object that a message was made of; None for a message of another framework, or one that was changed since."""
    item = kept(message, FRAMEWORK)
    return None if item is None else {"type": item["type"], "data": {**_plain(message), **item["data"]}}


def _neutral(kind: str, data: Mapping[str, Any]) -> NewMessage:
    calls = [
        {"id": call.get("id") or f"call-{place}", "name": call["name"], "arguments": call["args"]}
        for place, call in enumerate(cast("Iterable[dict[str, Any]]", data.get("tool_calls") or ()))
    ]
    fields: dict[str, Any] = {"role": _ROLES.get(kind, "user"), "content": _content(data["content"])}
    metadata: dict[str, Any] = {"tool_calls": calls}
    if kind == "tool":
        fields["content"] = ""
        result = {"tool_call_id": data["tool_call_id"], "result": data["content"], "name": data.get("name")}
        metadata["tool_results"] = [{**result, "is_error": data.get("status") == "error"}]
    if data.get("id"):
        fields["id"] = stable_id(data["id"])
    return NewMessage.model_validate({**fields, "metadata": metadata})


def _content(content: Any) -> Any:
    """The content without its calls of tools, which LangChain has beside it too."""
    if isinstance(content, str):
        return content
    blocks = [
        {"type": "text", "text": each} if isinstance(each, str) else {"type": "object", **each} for each in content
    ]
    return [block for block in blocks if block["type"] not in _CALL_BLOCKS]


def _plain(message: Message | NewMessage) -> dict[str, Any]:
    """What the data of LangChain's message is without anything that only LangChain has."""
    metadata = message.metadata
    data: dict[str, Any] = {"content": message.content, "id": message.id, "type": _TYPES[message.role]}
    if metadata.tool_calls:
        data["tool_calls"] = [
            {"id": call.id, "name": call.name, "args": call.arguments, "type": "tool_call"}
            for call in metadata.tool_calls
        ]
    for result in metadata.tool_results:
        status = "error" if result.is_error else "success"
        data |= {"content": result.result, "tool_call_id": result.tool_call_id, "name": result.name, "status": status}
    return data


def _is_same(plain: Any, value: Any) -> bool:
    return (value in _NOTHING and plain in _NOTHING) or same_json(plain, value)
