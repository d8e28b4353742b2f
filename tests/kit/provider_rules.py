"""The rules by which providers refuse a conversation, as their documentation and their error messages state them.

`broken_rules(format, request)` gives a sentence for each rule that a request breaks. A request is what `to_…` of the
format returns. The rules are those for a request that asks for the next answer: it begins with the user, and every call
is answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

__all__ = ["broken_rules"]


def broken_rules(format: str, request: Any) -> list[str]:
    """A sentence for each rule of the provider that the request breaks."""
    return list(_RULES[format](request))


def _pairs(calls: Iterable[str], results: Iterable[str]) -> Iterator[str]:
    """The rules for the ids of calls and of the results that stand directly behind them."""
    calls, results = list(calls), list(results)
    if len(set(calls)) != len(calls):
        yield "two calls have the same id"
    if len(set(results)) != len(results):
        yield "two results are for one call"
    if set(calls) - set(results):
        yield "a call has no result directly behind it"
    if set(results) - set(calls):
        yield "a result has no call directly before it"


def _is_object(arguments: Any) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (TypeError, ValueError):
        return False


# OpenAI chat


def _openai_chat(chat: list[dict[str, Any]]) -> Iterator[str]:
    calls: list[str] = []
    results: list[str] = []
    function = None
    spoken = [message["role"] for message in chat if message["role"] not in ("system", "developer")]
    if spoken and spoken[0] not in ("user", "assistant"):
        yield "a conversation begins with the result of a tool"
    for message in [*chat, {"role": "user", "content": "end"}]:
        if (message["role"] == "function" or function) and message.get("name") != function:
            yield "a function call has no answer of its name directly behind it, or an answer has no call"
        function = (message.get("function_call") or {}).get("name")
        if message["role"] == "tool":
            results.append(message["tool_call_id"])
        else:
            yield from _pairs(calls, results)
            calls, results = [call["id"] for call in message.get("tool_calls") or ()], []
        yield from _chat_message(message)


def _chat_message(message: dict[str, Any]) -> Iterator[str]:
    content, calls = message.get("content"), message.get("tool_calls")
    if content == [] or calls == []:
        yield "a list is empty"
    replaced = message["role"] == "assistant" and any(
        message.get(key) for key in ("tool_calls", "function_call", "refusal")
    )
    if content is None and not replaced:
        yield "content is null"
    allowed = {"user": {"text", "image_url", "input_audio", "file"}, "assistant": {"text", "refusal"}}
    for block in content if isinstance(content, list) else ():
        if block["type"] not in allowed.get(message["role"], {"text"}):
            yield f"a block {block['type']} in a message of {message['role']}"
    functions = [message.get("function_call"), *(call["function"] for call in calls or () if "function" in call)]
    for function in filter(None, functions):
        if not _is_object(function["arguments"]):
            yield "the arguments of a call are not an object"


# OpenAI Responses


def _openai_responses(request: dict[str, Any]) -> Iterator[str]:
    items = request["input"]
    open_calls: set[str] = set()
    seen: set[str] = set()
    for place, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "reasoning":
            after = items[place + 1] if place + 1 < len(items) else {"role": "user"}
            if after.get("role") in ("user", "system", "developer") or str(after.get("type")).endswith("_output"):
                yield "nothing follows a reasoning item"
        elif kind.endswith("_call_output"):
            if item["call_id"] not in open_calls:
                yield "an output has no open call before it"
            open_calls.discard(item["call_id"])
        elif kind.endswith("_call") and "call_id" in item:
            if item["call_id"] in seen:
                yield "two calls have the same id"
            if not 1 <= len(item["call_id"]) <= 64:
                yield "the id of a call has more than 64 characters"
            if kind == "function_call" and not _is_object(item["arguments"]):
                yield "the arguments of a call are not an object"
            open_calls.add(item["call_id"])
            seen.add(item["call_id"])
        elif kind == "message" and item["role"] == "user" and open_calls:
            yield "a call has no output before the user's next message"
        if kind == "message" and item.get("content") == []:
            yield "a content is empty"
    if open_calls:
        yield "a call has no output"


# Anthropic and Bedrock Converse


def _anthropic(request: dict[str, Any]) -> Iterator[str]:
    messages = [
        (role, [block for message in group for block in _anthropic_blocks(message["content"])])
        for role, group in groupby(request["messages"], key=lambda message: message["role"])
    ]
    spoken = [(role, blocks) for role, blocks in messages if role != "system"]
    if spoken and spoken[0][0] != "user":
        yield "the first message is not the user's"
    for role, blocks in messages:
        if not blocks:
            yield "a content is empty"
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                yield "a text is blank"
            if block["type"] == "tool_use" and not re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]):
                yield "the id of a call has characters that are not allowed"
            if block["type"] == "tool_use" and not isinstance(block["input"], dict):
                yield "the arguments of a call are not an object"
            if block["type"] in ("image", "document") and role == "assistant":
                yield "the assistant sends media"
    yield from _turns(
        spoken,
        lambda block: block["id"] if block["type"] == "tool_use" else None,
        lambda block: block["tool_use_id"] if block["type"] == "tool_result" else None,
    )


def _anthropic_blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _bedrock_converse(request: dict[str, Any]) -> Iterator[str]:
    messages = [(message["role"], message["content"]) for message in request["messages"]]
    spoken = [(role, blocks) for role, blocks in messages if role != "system"]
    if spoken and spoken[0][0] != "user":
        yield "the first message is not the user's"
    if any(one[0] == other[0] for one, other in pairwise(messages)):
        yield "roles do not alternate"
    for _, blocks in messages:
        if not blocks:
            yield "a content is empty"
        if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
            yield "a document stands without a text"
        for block in blocks:
            if "text" in block and not block["text"].strip():
                yield "a text is blank"
            if "toolUse" in block and not re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", block["toolUse"]["toolUseId"]):
                yield "the id of a call has characters that are not allowed"
            if "toolUse" in block and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", block["toolUse"]["name"]):
                yield "the name of a tool has characters that are not allowed"
    yield from _turns(
        spoken,
        lambda block: block["toolUse"]["toolUseId"] if "toolUse" in block else None,
        lambda block: block["toolResult"]["toolUseId"] if "toolResult" in block else None,
    )


def _turns(
    messages: list[tuple[str, list[dict[str, Any]]]],
    call_id: Callable[[dict[str, Any]], str | None],
    result_id: Callable[[dict[str, Any]], str | None],
) -> Iterator[str]:
    """The rules for calls, which the next message answers before it says anything else."""
    calls: list[str] = []
    for role, blocks in [*messages, ("user", [])]:
        results = [id for block in blocks if (id := result_id(block)) is not None]
        if role == "assistant" and results:
            yield "the assistant answers a call"
        yield from _pairs(calls, results)
        if results and [result_id(block) for block in blocks[: len(results)]] != results:
            yield "something stands before the results"
        calls = [id for block in blocks if (id := call_id(block)) is not None]
        if role == "user" and calls:
            yield "the user calls a tool"


# Gemini


def _gemini(request: dict[str, Any]) -> Iterator[str]:
    contents = request["contents"]
    if contents and contents[0].get("role", "user") not in ("user", "function"):
        yield "the first content is not the user's"
    calls: list[str] = []
    for content in [*contents, {"role": "user", "parts": [{"text": "end"}]}]:
        parts = content.get("parts") or []
        if not parts:
            yield "a content has no parts"
        if any(part.get("text") == "" and len(part) == 1 for part in parts):
            yield "a text is empty"
        answers = [
            _first(part, "function_response", "functionResponse")["name"]
            for part in parts
            if _is(part, "function_response", "functionResponse")
        ]
        if calls or answers:
            if len(calls) != len(answers):
                yield "the number of answers is not that of the calls before them"
            elif sorted(calls) != sorted(answers):
                yield "answers have other names than the calls before them"
        calls = [
            _first(part, "function_call", "functionCall")["name"]
            for part in parts
            if _is(part, "function_call", "functionCall")
        ]
        if calls and content.get("role") != "model":
            yield "the user calls a tool"


def _is(part: Mapping[str, Any], *keys: str) -> bool:
    return any(key in part for key in keys)


def _first(part: Mapping[str, Any], *keys: str) -> Any:
    return next(part[key] for key in keys if key in part)


_RULES: Mapping[str, Callable[[Any], Iterable[str]]] = {
    "openai_chat": _openai_chat,
    "openai_responses": _openai_responses,
    "anthropic": _anthropic,
    "bedrock_converse": _bedrock_converse,
    "gemini": _gemini,
}
