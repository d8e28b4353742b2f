"""Documents of other programs as conversations in a format that the library reads.

A converter takes the parsed document and gives its conversations. Each is a list of items for one reader, with what the
document says besides them, and with notes on what is left out: other branches, side conversations, marks of progress.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from session_continuity import FORMAT_NAMES, recognize
from session_continuity.cli.transcript_conversation import READABLE, Conversation, Item, is_list, is_object, object_at
from session_continuity.cli.transcript_exports import chatgpt_export, claude_code_log, claude_export, open_webui

__all__ = ["conversations_in"]

_LISTS = ("messages", "traj", "history", "conversation", "items", "data")
"""The keys under which programs keep the messages of a conversation."""


def conversations_in(document: object) -> list[Conversation]:
    """The conversations of a document: an object, or a list of messages or of conversations.

    Raises ValueError that names the format which the document resembles, if it cannot be read.
    """
    if is_object(document):
        return [_from_object(document)]
    if not is_list(document):
        raise ValueError("it must be a list of messages, an object with 'messages', or a message per line")
    objects = [value for value in document if is_object(value)]
    if objects and any(_is_conversation(value) for value in objects):
        return _from_conversations(document)
    return [_from_list(document)]


def _is_conversation(value: Item) -> bool:
    if "role" in value or ("type" in value and value["type"] != "conversation"):
        return False
    holders = ("messages", "conversations", "mapping", "chat_messages", "chat", "contents")
    return any(isinstance(value.get(key), (list, dict)) for key in holders)


def _from_conversations(values: list[Any]) -> list[Conversation]:
    found: list[Conversation] = []
    notes: list[str] = []
    for number, value in enumerate(values, 1):
        if is_object(value) and _is_conversation(value):
            found.append(_from_object(value))
        else:
            notes.append(f"conversation {number} has no messages and is left out")
    for conversation in found:
        conversation.notes += notes
    return found


def _from_object(value: Item) -> Conversation:
    for marks, name, convert in _OBJECTS:
        if marks(value):
            return _converted(name, convert, value)
    key = next((key for key in _LISTS if key in value and "role" not in value), None)
    if key is None:
        return _from_list([value])
    if not is_list(value[key]):
        raise ValueError(f"'{key}' must be a list")
    rest = {name: item for name, item in value.items() if name != key}
    conversation = _from_list(value[key])
    if conversation.format in ("anthropic", "bedrock_converse"):
        conversation.system = rest.pop("system", None)
    conversation.request = rest
    return conversation


def _converted(name: str, convert: Callable[[Any], Conversation], value: Any) -> Conversation:
    """The conversation of a document of this format. Raises ValueError if the document is not as the format says."""
    try:
        return convert(value)
    except KeyError as error:
        raise ValueError(f"it seems to be {FORMAT_NAMES[name]}, but {error.args[0]!r} is missing") from None
    except (AttributeError, TypeError) as error:
        detail = f"has a value of the wrong type ({error})"
        raise ValueError(f"it seems to be {FORMAT_NAMES[name]}, but {detail}") from None


def _from_list(values: list[Any]) -> Conversation:
    """The conversation of a list of messages, whose format is told from the messages."""
    found = recognize(values)
    if found is not None and found in _CONVERTERS:
        return _converted(found, _CONVERTERS[found], values)
    if found is None or found in READABLE:
        return Conversation(values, found or "openai_chat")
    raise ValueError(f"it seems to be {FORMAT_NAMES[found]}, which cannot be read here")


# Objects of APIs


def _completion(value: Item) -> Conversation:
    choices = [choice for choice in value["choices"] if is_object(choice)]
    messages = [choice.get("message") for choice in choices]
    notes = [f"{len(messages) - 1} other choices are left out"] if len(messages) > 1 else []
    rest = {key: item for key, item in value.items() if key != "choices"}
    return Conversation(messages[:1], request=rest, notes=notes)


def _response(value: Item) -> Conversation:
    asked = value.get("input")
    first = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked or []
    rest = {key: item for key, item in value.items() if key not in ("input", "output", "instructions")}
    items = [*first, *value.get("output", [])]
    return Conversation(items, "openai_responses", value.get("instructions"), rest)


def _gemini(value: Item) -> Conversation:
    system = value.get("systemInstruction", value.get("system_instruction"))
    known = ("contents", "systemInstruction", "system_instruction")
    return Conversation(value["contents"], "gemini", system, {key: value[key] for key in value if key not in known})


# ShareGPT


_SPEAKERS: Mapping[str, str] = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("observation", "tool", "function_response"), "tool"),
    "function_call": "function_call",
}


def _sharegpt(value: Item) -> Conversation:
    rest = {key: item for key, item in value.items() if key != "conversations"}
    conversation = _from_list(value["conversations"])
    conversation.request = rest
    if isinstance(value.get("system"), str) and conversation.format == "openai_chat":
        conversation.items = [{"role": "system", "content": rest.pop("system")}, *conversation.items]
        conversation.places = [0, *range(len(conversation.items) - 1)]
    return conversation


def _sharegpt_messages(values: list[Any]) -> Conversation:
    return Conversation([_sharegpt_message(value, number) for number, value in enumerate(values, 1)])


def _sharegpt_message(value: Any, number: int) -> Item:
    speaker = value.get("from") if is_object(value) else None
    role = _SPEAKERS.get(str(speaker))
    if role is None or not isinstance(value.get("value"), str):
        key = "value" if role else "from"
        raise ValueError(f"message {number}: '{key}' is not that of {FORMAT_NAMES['sharegpt']}")
    if role != "function_call":
        return {"role": role, "content": value["value"]}
    try:
        call = json.loads(value["value"])
        function = {"name": call["name"], "arguments": json.dumps(call.get("arguments", {}), ensure_ascii=False)}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"message {number}: 'value' of a function_call must be JSON with a 'name'") from None
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}


# LangChain


_LANGCHAIN_ROLES: Mapping[str, str] = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def _langchain(values: list[Any]) -> Conversation:
    items = [_langchain_message(value, number) for number, value in enumerate(values, 1)]
    signed = sum(_has_signature(value) for value in values)
    notes = [f"the signatures of thinking in {signed} messages are left out"] if signed else []
    return Conversation(items, notes=notes)


def _has_signature(value: Item) -> bool:
    content = _langchain_data(value)[1].get("content")
    return is_list(content) and any(is_object(block) and bool(block.get("signature")) for block in content)


def _langchain_data(value: Item) -> tuple[Any, Item]:
    """What a message is, and its fields."""
    if "kwargs" in value and is_list(value.get("id")):
        kind, data = value["kwargs"].get("type"), value["kwargs"]
        return kind or str(value["id"][-1]).removesuffix("Chunk").removesuffix("Message").lower(), data
    return value.get("type"), value.get("data", value)


def _langchain_message(value: Any, number: int) -> Item:
    if not is_object(value):
        raise ValueError(f"message {number}: a message must be an object")
    kind, data = _langchain_data(value)
    kind = str(kind).removesuffix("MessageChunk").lower()
    role = _LANGCHAIN_ROLES.get("ai" if kind == "aimessage" else kind) or (data.get("role") if kind == "chat" else None)
    if role is None:
        raise ValueError(f"message {number}: 'type' is not that of a message of LangChain")
    content = data.get("content")
    item: Item = {"role": role, "content": _langchain_content(content, role)}
    if isinstance(data.get("name"), str):
        item["name"] = data["name"]
    if role == "tool":
        item["tool_call_id"] = data.get("tool_call_id")
    if thought := _langchain_reasoning(data):
        item["reasoning_content"] = thought
    calls = data.get("tool_calls") or object_at(data, "additional_kwargs").get("tool_calls")
    if role == "assistant" and calls:
        item["tool_calls"] = [_langchain_call(call) for call in calls]
    return item


def _langchain_content(content: Any, role: str) -> Any:
    if not is_list(content):
        return content
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    taken = ("text", "image_url", "input_audio", "file") if role == "user" else ("text",)
    return [block for block in blocks if block.get("type") in taken]


def _langchain_reasoning(data: Item) -> str:
    extra = object_at(data, "additional_kwargs")
    content = data.get("content")
    blocks = [block for block in content if is_object(block)] if is_list(content) else []
    thoughts = [block.get("thinking") or block.get("reasoning") for block in blocks]
    return "\n".join(
        [*filter(None, [extra.get("reasoning_content")]), *(text for text in thoughts if isinstance(text, str))]
    )


def _langchain_call(call: Any) -> Any:
    if not is_object(call) or "function" in call:
        return call
    arguments = json.dumps(call.get("args", {}), ensure_ascii=False)
    return {"id": call.get("id"), "type": "function", "function": {"name": call.get("name"), "arguments": arguments}}


# UI messages of the AI SDK 4


def _ui_v4(values: list[Any]) -> Conversation:
    return Conversation([_ui_v4_message(value) for value in values], "ui_messages")


def _ui_v4_message(value: Any) -> Any:
    if not is_object(value):
        return value
    message = value
    parts = message.get("parts")
    if not is_list(parts):
        words = [{"type": "text", "text": message["content"]}] if message.get("content") else []
        calls = message.get("toolInvocations") or ()
        parts = [*({"type": "tool-invocation", "toolInvocation": call} for call in calls), *words]
    written = [part for raw in parts if (part := _ui_v4_part(raw))]
    for file in message.get("experimental_attachments") or ():
        mime = file.get("contentType") or "application/octet-stream"
        written.append({"type": "file", "mediaType": mime, "url": file.get("url")})
    known = ("parts", "content", "toolInvocations", "experimental_attachments", "reasoning")
    rest = {key: item for key, item in message.items() if key not in known}
    return {**rest, "role": "system" if rest.get("role") == "data" else rest.get("role"), "parts": written}


def _ui_v4_part(part: Any) -> Any:
    kind = part.get("type") if is_object(part) else None
    if kind == "tool-invocation":
        call = part["toolInvocation"]
        base = {"type": f"tool-{call.get('toolName')}", "toolCallId": call.get("toolCallId"), "input": call.get("args")}
        if call.get("state") == "result":
            return {**base, "state": "output-available", "output": call.get("result")}
        return {**base, "state": "input-available"}
    if kind == "reasoning":
        return {"type": "reasoning", "text": part.get("reasoning") or part.get("text") or ""}
    if kind == "file":
        mime, data = part.get("mimeType") or part.get("mediaType"), part.get("data")
        return {"type": "file", "mediaType": mime, "url": part.get("url") or f"data:{mime};base64,{data}"}
    if kind == "source":
        source = object_at(part, "source")
        return {"type": "source-url", "sourceId": str(source.get("id")), "url": source.get("url")}
    return part


_CONVERTERS: Mapping[str, Callable[[list[Any]], Conversation]] = {
    "sharegpt": _sharegpt_messages,
    "claude_code": claude_code_log,
    "langchain": _langchain,
    "ui_messages_v4": _ui_v4,
}

_OBJECTS: Sequence[tuple[Callable[[Item], bool], str, Callable[[Item], Conversation]]] = (
    (lambda value: is_list(value.get("choices")), "openai_chat", _completion),
    (lambda value: value.get("object") == "response" or is_list(value.get("output")), "openai_responses", _response),
    (lambda value: is_list(value.get("contents")), "gemini", _gemini),
    (lambda value: is_object(value.get("mapping")), "chatgpt_export", chatgpt_export),
    (lambda value: is_list(value.get("chat_messages")), "claude_export", claude_export),
    (lambda value: is_list(value.get("conversations")), "sharegpt", _sharegpt),
    (lambda value: is_object(value.get("chat")) or is_object(value.get("history")), "open_webui", open_webui),
)
"""How objects that hold a whole conversation are told apart, and their converters."""
