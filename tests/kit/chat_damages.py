"""What real conversations are damaged by, as people reported it of other stores: in the formats of providers.

Each damage changes a request, as `to_…` of a format returns it, at a place that the number chooses. A request without
such a place stays as it is.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

__all__ = ["DAMAGES"]

Json = dict[str, Any]
_IDS = frozenset(("id", "call_id", "tool_call_id", "tool_use_id", "toolUseId", "toolCallId"))
_LARGE_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480) + bytes(range(256)) * 176
_LARGE_PDF = b"%PDF-1.4 " + bytes(range(256)) * 590


# The parts of a request


def _items(request: Any) -> list[Json]:
    if isinstance(request, list):
        return request
    return next(request[key] for key in ("messages", "input", "contents") if key in request)


def _blocks(item: Json) -> list[Json]:
    content = item.get("content")
    return [*(content if isinstance(content, list) else ()), *item.get("parts", ())]


def _calls(request: Any) -> list[tuple[Json, str]]:
    """The objects that are calls, each with the key of its id."""
    found: list[tuple[Json, str]] = []
    for item in _items(request):
        if item.get("type") == "function_call":
            found.append((item, "call_id"))
        found += [(call, "id") for call in item.get("tool_calls") or ()]
        for block in _blocks(item):
            if block.get("type") == "tool_use":
                found.append((block, "id"))
            elif "toolUse" in block:
                found.append((block["toolUse"], "toolUseId"))
            elif "function_call" in block:
                found.append((block["function_call"], "id"))
            elif "toolCallId" in block:
                found.append((block, "toolCallId"))
    return found


def _results(request: Any) -> list[tuple[Json, str]]:
    """The objects that are results, each with the key of its value."""
    found: list[tuple[Json, str]] = []
    for item in _items(request):
        if item.get("role") == "tool":
            found.append((item, "content"))
        elif item.get("type") == "function_call_output":
            found.append((item, "output"))
        for block in _blocks(item):
            if block.get("type") == "tool_result":
                found.append((block, "content"))
            elif "toolResult" in block:
                found.append((block["toolResult"], "content"))
            elif "function_response" in block:
                found.append((block["function_response"], "response"))
            elif "output" in block:
                found.append((block, "output"))
    return found


def _is_result(block: Json) -> bool:
    return block.get("type") == "tool_result" or "toolResult" in block or "function_response" in block


def _walk(value: Any) -> Iterator[Json]:
    """Every object in a request."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(inner)


def _answers(request: Any) -> list[int]:
    """The places of what the assistant said."""
    return [place for place, item in enumerate(_items(request)) if item.get("role") in ("assistant", "model")]


# Messages


def _drop_one(request: Any, place: int) -> None:
    """A message was lost: a result is missing, or a call, or a question."""
    items = _items(request)
    if len(items) > 1:
        del items[place % len(items)]


def _double_one(request: Any, place: int) -> None:
    """A message was delivered twice."""
    items = _items(request)
    items.insert(place % len(items), deepcopy(items[place % len(items)]))


def _cut_end(request: Any, place: int) -> None:
    """The process died in the middle of a turn."""
    items = _items(request)
    del items[place % len(items) + 1 :]


def _cut_beginning(request: Any, place: int) -> None:
    """The oldest messages were deleted: the conversation begins anywhere."""
    items = _items(request)
    del items[: place % len(items)]


def _swap_two(request: Any, place: int) -> None:
    """Two messages changed places: a result came late, or before its call."""
    items = _items(request)
    first, second = place % len(items), (place + 1) % len(items)
    items[first], items[second] = items[second], items[first]


def _begin_with_answer(request: Any, place: int) -> None:
    """The first message is the assistant's."""
    items = _items(request)
    if places := _answers(request):
        items.insert(0, deepcopy(items[places[place % len(places)]]))


def _repeat_prompt(request: Any, place: int) -> None:
    """The system prompt was stored with every request."""
    del place
    prompt, items = _prompt(request), _items(request)
    for at in reversed(range(len(items))):
        if prompt is not None and items[at].get("role") == "user":
            items.insert(at, deepcopy(prompt))


def _prompt(request: Any) -> Json | None:
    """A system message among others; None for Gemini, which has one place for it."""
    words = "You are helpful."
    if isinstance(request, list):
        parts = [{"type": "text", "text": words}]
        is_chat = "content" in request[0]
        return {"role": "system", "content": words} if is_chat else {"id": "p", "role": "system", "parts": parts}
    if "contents" in request:
        return None
    is_converse = any("type" not in block for item in _items(request) for block in _blocks(item))
    return {"role": "system", "content": [{"text": words}] if is_converse else words}


def _reason_only(request: Any, place: int) -> None:
    """An answer has reasoning and nothing else."""
    if places := _answers(request):
        answer = _items(request)[places[place % len(places)]]
        key = "parts" if "parts" in answer else "content"
        reasoning = [block for block in _blocks(answer) if _is_reasoning(block)]
        if reasoning:
            answer[key] = reasoning


def _is_reasoning(block: Json) -> bool:
    return block.get("type") in ("thinking", "reasoning") or "reasoningContent" in block or "thought" in block


def _say_nothing(request: Any, place: int) -> None:
    """An answer of a chat has null or reasoning for its content, an empty list of calls, or calls without ids."""
    answers = [item for item in _items(request) if item.get("role") == "assistant" and "content" in item]
    if answers and isinstance(request, list):
        answer = answers[place % len(answers)]
        for number, call in enumerate(answer.get("tool_calls") or ()):
            call["id"] = ""
            if number % 2:
                del call["id"]
        if not answer.get("tool_calls"):
            answer.update(content=None, reasoning_content="hm", tool_calls=[])


def _blank_words(request: Any, place: int) -> None:
    """A text is empty, or blank."""
    texts = [value for value in _walk(_items(request)) if isinstance(value.get("text"), str) and len(value) <= 2]
    if texts:
        texts[place % len(texts)]["text"] = " " * (place % 3)


def _older_roles(request: Any, place: int) -> None:
    """A chat has a function message and a prompt in the middle, as before there were tools and developers."""
    if isinstance(request, list) and "content" in request[0]:
        function: Json = {"name": "search_web", "arguments": "{}" if place % 2 else ""}
        request += [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None, "function_call": function},
            {"role": "function", "name": "search_web", "content": "nothing" if place % 3 else None},
            {"role": "user", "content": "And now?"},
        ]


# Calls and results


def _same_ids(request: Any, place: int) -> None:
    """Two calls have the same id."""
    calls = _calls(request)
    if len(calls) > 1:
        (call, key), (other, _) = calls[place % len(calls)], calls[(place + 1) % len(calls)]
        call[key] = other.get(key, call.get(key, "same"))


def _odd_ids(request: Any, place: int) -> None:
    """Ids have two parts, or hold a signature of up to 4,000 characters."""
    renamed = {call.get(key): f"{call.get(key)}|fc{'+/=' * (place * 13)}"[:4096] for call, key in _calls(request)}
    for value in _walk(_items(request)):
        for key in _IDS & value.keys():
            value[key] = renamed.get(value[key], value[key])


def _cut_arguments(request: Any, place: int) -> None:
    """The arguments of a call are cut off, empty, null, or not an object."""
    calls = [call.get("function", call) for call, _ in _calls(request)]
    written = [call for call in calls if isinstance(call.get("arguments"), str)]
    if written:
        call = written[place % len(written)]
        call["arguments"] = [call["arguments"][: place % 7], "", "[1]", '{"a": "b', None][place % 5]
        if call["arguments"] is None and "call_id" in call:
            call["arguments"] = "null"
    elif calls:
        call = calls[place % len(calls)]
        call.pop("args", None)  # Gemini's are an object, or missing
        if "input" in call:
            call["input"] = {}


def _lose_sibling(request: Any, place: int) -> None:
    """One of two parallel calls was answered before the process died."""
    for item in _items(request):
        for key in ("content", "parts"):
            blocks = item.get(key)
            if isinstance(blocks, list) and sum(map(_is_result, blocks)) > 1:
                blocks.remove([block for block in blocks if _is_result(block)][place % 2])
                return
    answers = [item for item in _items(request) if item.get("role") == "tool" or "output" in item]
    if answers:
        _items(request).remove(answers[place % len(answers)])


def _double_result(request: Any, place: int) -> None:
    """A result was delivered twice."""
    for item in _items(request):
        for key in ("content", "parts"):
            blocks = item.get(key)
            results = [block for block in blocks if _is_result(block)] if isinstance(blocks, list) else []
            if results:
                blocks.append(deepcopy(results[place % len(results)]))
                return
    answers = [item for item in _items(request) if item.get("role") == "tool" or "output" in item]
    if answers:
        _items(request).append(deepcopy(answers[place % len(answers)]))


def _empty_result(request: Any, place: int) -> None:
    """A result is null, or has nothing in it."""
    if results := _results(request):
        result, key = results[place % len(results)]
        empty: dict[str, Any] = {"toolUseId": [], "response": {}, "output": ""}
        missing = [empty[name] for name in empty if name == key or name in result]
        result[key] = missing[0] if missing else None


def _long_result(request: Any, place: int) -> None:
    """A result alone is over the budget."""
    if results := _results(request):
        result, key = results[place % len(results)]
        text = "some words of a log " * 2000
        result[key] = [{"text": text}] if "toolUseId" in result else {"output": text} if key == "response" else text


def _large_media(request: Any, place: int) -> None:
    """An image of 45 KB and a document of 150 KB lie in the conversation, as bytes or in base64."""
    del place
    for value in _walk(_items(request)):
        for key, held in value.items():
            if isinstance(held, bytes):
                value[key] = _LARGE_PDF if held.startswith(b"%PDF") else _LARGE_PNG
            elif isinstance(held, str) and held.startswith("data:"):
                large = _LARGE_PDF if "pdf" in held[:30] else _LARGE_PNG
                value[key] = held.partition(",")[0] + "," + base64.b64encode(large).decode()
            elif key == "data" and isinstance(held, str) and len(held) > 20:
                is_pdf = value.get("media_type") == "application/pdf"
                value[key] = base64.b64encode(_LARGE_PDF if is_pdf else _LARGE_PNG).decode()


DAMAGES: tuple[Callable[[Any, int], None], ...] = (
    _drop_one,
    _double_one,
    _cut_end,
    _cut_beginning,
    _swap_two,
    _begin_with_answer,
    _repeat_prompt,
    _reason_only,
    _say_nothing,
    _blank_words,
    _older_roles,
    _same_ids,
    _odd_ids,
    _cut_arguments,
    _lose_sibling,
    _double_result,
    _empty_result,
    _long_result,
    _large_media,
)
"""All damages."""
