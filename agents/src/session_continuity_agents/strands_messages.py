"""Messages of strands-agents as messages that everybody can read, and back. The framework is not needed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard, cast

from pydantic import ValidationError as PydanticError

from session_continuity import (
    Message,
    NewMessage,
    ValidationError,
    from_bedrock_converse,
    replace_invalid_text,
    stable_id,
    to_bedrock_converse,
)
from session_continuity_agents.keeping import keep, kept, same_json
from session_continuity_agents.keys import session_key

__all__ = [
    "DEFAULT_AGENT",
    "FRAMEWORK",
    "conversation_id",
    "decoded",
    "encoded",
    "message_of",
    "runs",
    "strands_messages_of",
]

FRAMEWORK = "strands"
DEFAULT_AGENT = "default"  # what strands calls an agent without an agent_id


def conversation_id(session_id: str, agent_id: str = DEFAULT_AGENT) -> str:
    """The id of the session with an agent's messages."""
    return stable_id(session_id) if agent_id == DEFAULT_AGENT else session_key(session_id, agent_id)


def encoded(value: Any) -> Any:
    """The value as strands writes it in JSON: bytes become an object with base64."""
    if isinstance(value, bytes):
        return {"__bytes_encoded__": True, "data": base64.b64encode(value).decode()}
    return _with_parts(encoded, value)


def decoded(value: Any) -> Any:
    """The value of which `encoded` made this one."""
    if _is_object(value) and value.get("__bytes_encoded__") is True and "data" in value:
        return base64.b64decode(value["data"])
    return _with_parts(decoded, value)


def _with_parts(convert: Callable[[Any], Any], value: Any) -> Any:
    """The value with the parts of objects and lists converted."""
    if _is_object(value):
        return {key: convert(item) for key, item in value.items()}
    return [convert(item) for item in value] if _is_list(value) else value


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def message_of(message: Mapping[str, Any]) -> NewMessage:
    """A message of strands as one that everybody can read. `strands_messages_of` makes the same one again."""
    item = cast("dict[str, Any]", encoded(message))
    neutral = _neutral(item)
    plain = strands_messages_of([neutral])
    is_same = len(plain) == 1 and same_json(encoded(plain[0]), item)
    return keep(neutral, FRAMEWORK, {} if is_same else {"message": item})


def strands_messages_of(messages: Sequence[Message | NewMessage]) -> list[Any]:
    """The messages of strands for messages, whoever wrote them. System messages are left out: they are the agent's.

    Results of tools that stand in several messages become one, as strands has them.
    """
    found: list[Any] = []
    for run in runs(messages):
        item = kept(run[0], FRAMEWORK)
        if isinstance(item, dict) and "message" in item:
            found.append(decoded(cast("dict[str, Any]", item)["message"]))
        else:
            found += to_bedrock_converse(run)["messages"]
    return found


def _neutral(item: dict[str, Any]) -> NewMessage:
    """What a message says. Results and text that strands has in one message stay in one."""
    try:
        read = from_bedrock_converse([decoded(replace_invalid_text(item))])
    except (ValidationError, PydanticError):
        read = []
    if len(read) == 1:
        return read[0]
    results = [result for message in read for result in message.metadata.tool_results]
    blocks = [block for message in read for block in _blocks(message)]
    role = "tool" if results else item["role"]
    return NewMessage.model_validate({"role": role, "content": blocks, "metadata": {"tool_results": results}})


def _blocks(message: NewMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}] if message.content else []
    return cast("list[dict[str, Any]]", message.content)


def runs(messages: Sequence[Any]) -> list[list[Any]]:
    """The messages that strands wrote one by one, and those of others between them together."""
    found: list[list[Any]] = []
    is_own = True
    for message in messages:
        was_own, is_own = is_own, kept(message, FRAMEWORK) is not None
        if was_own or is_own:
            found.append([])
        found[-1].append(message)
    return found
