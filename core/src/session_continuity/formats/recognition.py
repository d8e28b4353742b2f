"""What a chat seems to be that is not in the format in which it was to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

__all__ = ["FORMAT_NAMES", "foreign_block", "hint", "recognize"]

FORMAT_NAMES: Mapping[str, str] = {
    "openai_chat": "an OpenAI chat, which from_openai reads",
    "openai_responses": "items of OpenAI Responses, which from_openai_responses reads",
    "anthropic": "Anthropic messages, which from_anthropic reads",
    "bedrock_converse": "messages of Bedrock Converse, which from_bedrock_converse reads",
    "gemini": "Gemini contents, which from_gemini reads",
    "ui_messages": "UI messages of the Vercel AI SDK 5, which from_ui_messages reads",
    "ui_messages_v4": "UI messages of the Vercel AI SDK 4",
    "langchain": "dumped messages of LangChain",
    "sharegpt": "a ShareGPT conversation",
    "claude_code": "a log of Claude Code",
    "chatgpt_export": "an export of ChatGPT",
    "claude_export": "an export of Claude.ai",
    "open_webui": "an export of Open WebUI",
    "session_continuity": "messages of this project",
}
"""Formats, and how an error calls them."""

_BLOCKS: Mapping[str, str] = {
    **dict.fromkeys(("tool_use", "tool_result", "redacted_thinking", "server_tool_use"), "anthropic"),
    **dict.fromkeys(("input_text", "output_text", "input_image", "input_file", "summary_text"), "openai_responses"),
    **dict.fromkeys(("image_url", "input_audio"), "openai_chat"),
    **dict.fromkeys(("step-start", "dynamic-tool", "source-url", "tool-invocation"), "ui_messages"),
}
"""Types of blocks that only one format has."""

_CONVERSE = frozenset(("text", "image", "document", "video", "audio", "toolUse", "toolResult", "reasoningContent"))
_LANGCHAIN = frozenset(("human", "ai", "tool", "system", "chat", "function"))


def hint(items: object, reading: str) -> str:
    """The end of an error: what the items seem to be, if it is not the format in which they are read."""
    found = recognize(items)
    return "" if found is None or found == reading else f"; this seems to be {FORMAT_NAMES[found]}"


def foreign_block(kind: object, reading: str) -> str | None:
    """The format of a block whose type only another format has."""
    found = _BLOCKS.get(kind) if isinstance(kind, str) else None
    return None if found == reading else found


def recognize(value: object) -> str | None:
    """The name of the format that a document, a list of messages or a single message seems to be in; None if it looks
    like nothing that is known."""
    if isinstance(value, list):
        found = [name for item in cast("list[object]", value) if (name := recognize(item)) is not None]
        # A message with a text as its content may be of several formats.
        return next((name for name in found if name != "openai_chat"), found[0] if found else None)
    if not isinstance(value, dict):
        return None
    item = cast("dict[str, Any]", value)
    return next((name for name, matches in _MARKS if matches(item)), None)


def _blocks(item: Mapping[str, Any], key: str = "content") -> Iterable[Mapping[str, Any]]:
    blocks: object = item.get(key)
    listed = cast("list[object]", blocks) if isinstance(blocks, list) else []
    return [cast("Mapping[str, Any]", block) for block in listed if isinstance(block, dict)]


def _has_block(format: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda item: any(_BLOCKS.get(str(block.get("type"))) == format for block in _blocks(item))


def _is_anthropic(item: Mapping[str, Any]) -> bool:
    own = _has_block("anthropic")(item)
    return own or any(
        (block.get("type") in ("image", "document") and "source" in block)
        or (block.get("type") == "thinking" and isinstance(block.get("thinking"), str))
        for block in _blocks(item)
    )


def _is_converse(item: Mapping[str, Any]) -> bool:
    blocks = list(_blocks(item))
    return bool(blocks) and all(len(block) == 1 and not _CONVERSE.isdisjoint(block) for block in blocks)


def _is_responses(item: Mapping[str, Any]) -> bool:
    if "role" in item:
        return _has_block("openai_responses")(item)
    kind = str(item.get("type"))
    named = kind in ("reasoning", "item_reference", "compaction")
    return named or kind.endswith(("_call", "_call_output")) or item.get("object") == "response"


def _is_langchain(item: Mapping[str, Any]) -> bool:
    if "lc" in item or item.get("type") == "constructor":
        return True
    return str(item.get("type")) in _LANGCHAIN and "role" not in item and ("data" in item or "content" in item)


def _is_chat(item: Mapping[str, Any]) -> bool:
    if (
        "tool_calls" in item
        or "tool_call_id" in item
        or "function_call" in item
        or item.get("object") == "chat.completion"
    ):
        return True
    roles = ("system", "developer", "user", "assistant", "tool", "function")
    content = item.get("content")
    return item.get("role") in roles and (isinstance(content, str) or _has_block("openai_chat")(item))


_MARKS: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("session_continuity", lambda item: "session_id" in item and "metadata" in item and "token_count" in item),
    ("claude_code", lambda item: isinstance(item.get("message"), dict) and ("uuid" in item or "sessionId" in item)),
    ("chatgpt_export", lambda item: isinstance(item.get("mapping"), dict)),
    ("claude_export", lambda item: isinstance(item.get("chat_messages"), list)),
    ("open_webui", lambda item: isinstance(item.get("chat"), dict) or isinstance(item.get("history"), dict)),
    ("sharegpt", lambda item: ("from" in item and "value" in item) or isinstance(item.get("conversations"), list)),
    (
        "ui_messages_v4",
        lambda item: (
            "toolInvocations" in item or any(b.get("type") == "tool-invocation" for b in _blocks(item, "parts"))
        ),
    ),
    ("ui_messages", lambda item: any("type" in part for part in _blocks(item, "parts"))),
    ("gemini", lambda item: isinstance(item.get("parts"), list)),
    ("langchain", _is_langchain),
    ("openai_responses", _is_responses),
    ("anthropic", _is_anthropic),
    ("bedrock_converse", _is_converse),
    ("openai_chat", _is_chat),
)
"""How the formats are told apart, the surest marks first."""
