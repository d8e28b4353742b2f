"""Exports and logs that keep a conversation as a tree: ChatGPT, Open WebUI, Claude.ai, Claude Code.

A tree grows where a question is edited or an answer is made again. One branch of it is the conversation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from session_continuity import FORMAT_NAMES
from session_continuity.cli.transcript_conversation import Conversation, Item, is_list, is_object, object_at

__all__ = ["chatgpt_export", "claude_code_log", "claude_export", "open_webui"]


def _branch(nodes: Mapping[str, Any], leaf: Any, parent: str) -> list[str]:
    """The ids from the root to a leaf."""
    path: list[str] = []
    while isinstance(leaf, str) and leaf in nodes and leaf not in path:
        path.append(leaf)
        leaf = nodes[leaf].get(parent)
    return path[::-1]


def _others(count: int, what: str) -> list[str]:
    return [f"{count} messages of {what} are left out"] if count > 0 else []


def chatgpt_export(value: Item) -> Conversation:
    """The current branch of a conversation in an export of ChatGPT."""
    nodes = {key: node for key, node in value["mapping"].items() if is_object(node)}
    path = _branch(nodes, value.get("current_node") or next(reversed(nodes), None), "parent")
    spoken = [key for key in nodes if _chatgpt_words(nodes[key].get("message"))]
    items = list(_chatgpt_items([nodes[key].get("message") for key in path]))
    about: Item = {
        key: value[key] for key in ("title", "create_time", "default_model_slug", "conversation_id") if key in value
    }
    notes = _others(len(set(spoken) - set(path)), "other branches")
    return Conversation(items, request=about, notes=notes, places=[0] * len(items))


def _chatgpt_items(messages: Iterable[Any]) -> Iterator[Item]:
    call_id: str | None = None
    for message in messages:
        words = _chatgpt_words(message)
        if not words:
            continue
        author, recipient = object_at(message, "author"), message.get("recipient")
        role, kind = author.get("role"), object_at(message, "content").get("content_type")
        if kind in ("user_editable_context", "model_editable_context"):
            yield {"role": "system", "content": words}
        elif kind in ("thoughts", "reasoning_recap"):
            yield {"role": "assistant", "content": None, "reasoning_content": words}
        elif role == "tool":
            answered = {"role": "tool", "tool_call_id": call_id, "content": words}
            yield answered if call_id else {"role": "assistant", "name": author.get("name") or "tool", "content": words}
            call_id = None
        elif role == "assistant" and recipient not in (None, "all"):
            call_id = str(message.get("id"))
            function = {"name": str(recipient), "arguments": words if isinstance(words, str) else json.dumps(words)}
            yield {
                "role": role,
                "content": None,
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
        else:
            yield {"role": role, "content": words}


def _chatgpt_words(message: Any) -> str | list[Item]:
    """The words of a message, with blocks for its images; empty if it says nothing."""
    content = message.get("content") if is_object(message) else None
    if not is_object(content):
        return ""
    fields = content
    if fields.get("content_type") == "user_editable_context":
        return "\n".join(filter(None, (fields.get("user_profile"), fields.get("user_instructions"))))
    if is_list(fields.get("thoughts")):
        return "\n".join(str(thought.get("content", "")) for thought in fields["thoughts"] if is_object(thought))
    parts = fields.get("parts")
    if not is_list(parts):
        return next((fields[key] for key in ("text", "content", "result") if isinstance(fields.get(key), str)), "")
    if all(isinstance(part, str) for part in parts):
        return "\n".join(parts)
    blocks = [{"type": "text", "text": part} if isinstance(part, str) else _pointer(part) for part in parts]
    return [block for block in blocks if block.get("text") != ""]


def _pointer(part: Any) -> Item:
    return {"type": str(part.get("content_type") or "part"), **{key: part[key] for key in part if key != "type"}}


def open_webui(value: Item) -> Conversation:
    """The current branch of a chat in an export of Open WebUI."""
    chat = object_at(value, "chat") or value
    history = object_at(chat, "history")
    nodes = history.get("messages")
    if not is_object(nodes):
        listed = chat.get("messages")
        if not is_list(listed):
            raise ValueError(f"'history.messages' is missing in {FORMAT_NAMES['open_webui']}")
        return Conversation(listed)
    path = _branch(nodes, history.get("currentId"), "parentId") or list(nodes)
    items = [{key: nodes[id][key] for key in ("role", "content") if key in nodes[id]} for id in path]
    about: Item = {key: chat[key] for key in ("title", "models") if key in chat}
    notes = _others(len(nodes) - len(path), "other branches")
    return Conversation(items, request=about, notes=notes, places=[0] * len(items))


def claude_export(value: Item) -> Conversation:
    """The current branch of a conversation in an export of Claude.ai."""
    messages = [message for message in value["chat_messages"] if is_object(message)]
    nodes = {str(message.get("uuid")): message for message in messages}
    leaf = value.get("current_leaf_message_uuid") or (messages[-1].get("uuid") if messages else None)
    has_tree = any("parent_message_uuid" in message for message in messages)
    path = _branch(nodes, leaf, "parent_message_uuid") if has_tree else list(nodes)
    items = [item for id in path for item in _claude_items(nodes[id])]
    about: Item = {key: value[key] for key in ("name", "created_at", "uuid") if key in value}
    notes = _others(len(nodes) - len(path), "other branches") + _lost_blocks(nodes[id] for id in path)
    return Conversation(items, "anthropic", request=about, notes=notes, places=[0] * len(items))


def _lost_blocks(messages: Iterable[Item]) -> list[str]:
    """A note for each type of block that is left out."""
    raws = [raw for message in messages if is_list(message.get("content")) for raw in message["content"]]
    lost = Counter(str(raw.get("type")) for raw in raws if is_object(raw) and _claude_block(raw) is None)
    return [f"{number} blocks of {kind} are left out" for kind, number in lost.items()]


def _claude_items(message: Item) -> Iterator[Item]:
    """The messages of Anthropic's API for one of an export, in which results stand among what the assistant says."""
    role = "user" if message.get("sender") in ("human", "user") else "assistant"
    content = message.get("content")
    blocks = [block for raw in content or () if (block := _claude_block(raw))] if is_list(content) else []
    if not blocks and isinstance(message.get("text"), str) and message["text"]:
        blocks = [{"type": "text", "text": message["text"]}]
    for file in message.get("attachments") or ():
        if is_object(file) and isinstance(file.get("extracted_content"), str):
            blocks.append({"type": "text", "text": file["extracted_content"]})
    run: list[Item] = []
    for block in blocks:
        if run and (block["type"] == "tool_result") != (run[-1]["type"] == "tool_result"):
            yield {"role": "user" if run[-1]["type"] == "tool_result" else role, "content": run}
            run = []
        run.append(block)
    if run:
        yield {"role": "user" if run[-1]["type"] == "tool_result" else role, "content": run}


_CLAUDE_KEYS: Mapping[str, Sequence[str]] = {
    "text": ("type", "text"),
    "thinking": ("type", "thinking", "signature"),
    "tool_use": ("type", "id", "name", "input"),
    "tool_result": ("type", "tool_use_id", "content", "is_error"),
}


def _claude_block(raw: Any) -> Item | None:
    """A block without what the export adds; None for thinking that has no signature, which nobody may read again."""
    if not is_object(raw) or raw.get("type") not in _CLAUDE_KEYS:
        return None
    block = {key: raw[key] for key in _CLAUDE_KEYS[raw["type"]] if raw.get(key) is not None}
    return None if block["type"] == "thinking" and "signature" not in block else block


def claude_code_log(values: list[Any]) -> Conversation:
    """The last branch of a log of Claude Code, without the conversations of its helpers."""
    entries = [(place, value) for place, value in enumerate(values) if is_object(value)]
    spoken = [(place, value) for place, value in entries if is_object(value.get("message"))]
    main = [(place, value) for place, value in spoken if not value.get("isSidechain")]
    nodes = {value["uuid"]: value for _, value in entries if isinstance(value.get("uuid"), str)}
    leaf = next((value.get("uuid") for _, value in reversed(main)), None)
    has_tree = any(value.get("parentUuid") for _, value in main)
    path = (
        set(_branch({id: _with_parent(node) for id, node in nodes.items()}, leaf, "parent"))
        if has_tree
        else nodes.keys()
    )
    chosen = [(place, value) for place, value in main if value.get("uuid") in path]
    notes = _others(len(spoken) - len(main), "side conversations") + _others(len(main) - len(chosen), "other branches")
    items, places = _joined_lines(chosen)
    about: Item = {key: chosen[0][1][key] for key in ("sessionId", "cwd") if chosen and key in chosen[0][1]}
    return Conversation(items, "anthropic", request=about, notes=notes, places=places)


def _with_parent(node: Item) -> Item:
    return {"parent": node.get("parentUuid") or node.get("logicalParentUuid")}


def _joined_lines(lines: Iterable[tuple[int, Item]]) -> tuple[list[Item], list[int]]:
    """The messages of the lines: a log has a line for each block of an answer."""
    items: list[Item] = []
    places: list[int] = []
    last_id = None
    for place, value in lines:
        message = value["message"]
        content, id = message.get("content"), message.get("id")
        if id is not None and id == last_id and is_list(content):
            items[-1]["content"] = [*items[-1]["content"], *content]
            continue
        last_id = id
        items.append({key: message[key] for key in ("role", "content", "model") if key in message})
        places.append(place)
    return items, places
