"""Conversations as agents have them today, one in the form of each provider: written for the tests after the shape of
real logs, with reasoning, parallel calls, errors, long outputs, files, and turns that were broken off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from session_continuity import (
    NewMessage,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
    from_ui_messages,
)

__all__ = ["RECORDED"]

_LOG = "\n".join(f"12:00:{second:02} worker {second % 4}: row {second * 37} was written" for second in range(60))
_CODE = "def total(rows):\n    return sum(row.price * row.count for row in rows)\n" * 8
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAyAAAAJYCAYAAACadoJw" + "A" * 2000


def _support() -> list[NewMessage]:
    """An OpenAI chat with reasoning of a compatible service; the prompt is stored with every request."""
    prompt = {"role": "developer", "content": "You help customers of a bookshop. Never promise a refund."}
    chat: list[dict[str, Any]] = []
    for number, question in enumerate(("Where is my parcel?", "And the second one?", "Can I send it back?")):
        ids = [f"call_{number}_track", f"call_{number}_rules"]
        asked = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in zip(ids, ("track", "read_rules"), ('{"parcel": 7}', ""), strict=True)
        ]
        chat += [
            prompt,
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "reasoning_content": "I must look. " * 9, "tool_calls": asked},
            {"role": "tool", "tool_call_id": ids[0], "content": '{"state": "on its way", "days": 2}'},
            *([{"role": "tool", "tool_call_id": ids[1], "content": _LOG}] if number != 1 else []),
            {"role": "assistant", "content": "It comes in two days." if number != 2 else None, "tool_calls": []},
        ]
    chat[-1]["reasoning_content"] = "The rules say yes."
    return from_openai(chat, model="reasoner-1")


def _coding() -> list[NewMessage]:
    """A coding agent on Anthropic: signed thinking, several calls at once, words beside results, a broken-off turn."""
    messages: list[dict[str, Any]] = []
    for number, task in enumerate(("Why does the test fail?", "Mend it.", "Run it again.")):
        messages.append({"role": "user", "content": [{"type": "text", "text": task}]})
        for step in range(2):
            ids = [f"toolu_{number}{step}{letter}" for letter in "ab"]
            thinking = {"type": "thinking", "thinking": "Let me see. " * 6, "signature": "c2lnbmF0dXJl" * 12}
            uses = [{"type": "tool_use", "id": id, "name": "shell", "input": {"command": "make"}} for id in ids]
            words = {"type": "text", "text": "I look at both files."}
            messages.append({"role": "assistant", "content": [thinking, words, *uses]})
            results = [
                {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": text}]}
                for id, text in zip(ids, (_LOG, _CODE), strict=True)
            ]
            results[1]["is_error"] = step == 0
            kept = results[:1] if (number, step) == (1, 1) else results
            messages.append({"role": "user", "content": [*kept, {"type": "text", "text": "(4 minutes are left)"}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "Done. " * 10}]})
    commit = {"type": "tool_use", "id": "toolu_end", "name": "git", "input": {}}
    messages += [{"role": "user", "content": "Thanks. Now commit it."}, {"role": "assistant", "content": [commit]}]
    system = [{"type": "text", "text": "You are a careful engineer.", "cache_control": {"type": "ephemeral"}}]
    return from_anthropic(messages, system, model="claude-opus-4-5")


def _research() -> list[NewMessage]:
    """A research agent on Responses: encrypted reasoning, a hosted search, a screenshot, citations."""
    items: list[dict[str, Any]] = []
    for number, question in enumerate(("Who built the bridge?", "When?", "Show me a picture.")):
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "auto"}
        cited = {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://example.org", "title": "B"}
        words = {"type": "output_text", "text": "It was the city itself. " * 5, "annotations": [cited]}
        about = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        items += [
            {"role": "user", "content": [{"type": "input_text", "text": question}, *([image] if number == 2 else [])]},
            {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "gAAAAB" * 60},
            {"type": "web_search_call", "id": f"ws_{number}", "status": "completed"},
            {"type": "function_call", "call_id": f"call_{number}", "name": "archive", "arguments": '{"q": "bridge"}'},
            {"type": "function_call_output", "call_id": f"call_{number}", "output": _LOG},
            {**about, "content": [words]},
        ]
    items += [{"role": "user", "content": "And the architect?"}, items[3]]
    return from_openai_responses(items, "You search in archives.", model="gpt-5")


def _documents() -> list[NewMessage]:
    """A clerk on Converse: documents, results in JSON, reasoning, and a call that nothing answered."""
    messages: list[dict[str, Any]] = []
    for number in range(3):
        pdf = {"format": "pdf", "name": "Contract", "source": {"bytes": b"%PDF-1.7 " + bytes(3000)}}
        reasoning = {"reasoningText": {"text": "Page two matters. " * 5, "signature": "c2ln" * 9}}
        ids = [f"tooluse_{number}{letter}" for letter in "ab"]
        messages += [
            {"role": "user", "content": [{"document": pdf}, {"text": f"What does clause {number} say?"}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": reasoning},
                    *({"toolUse": {"toolUseId": id, "name": "clause", "input": {"n": number}}} for id in ids),
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": id, "content": [{"json": {"text": _CODE}}], "status": "success"}}
                    for id in (ids if number != 2 else ids[:1])
                ],
            },
            {"role": "assistant", "content": [{"text": "That either side may end it. " * 4}]},
        ]
    return from_bedrock_converse(messages, [{"text": "You read contracts."}], model="some.model-v1:0")


def _travel() -> list[NewMessage]:
    """A travel agent on Gemini: calls without ids, two of one name at once, thought signatures."""
    contents: list[dict[str, Any]] = []
    for number, city in enumerate(("Oslo", "Porto", "Graz")):
        call = {"function_call": {"name": "flights", "args": {"to": city}}}
        answer = {"function_response": {"name": "flights", "response": {"output": _LOG}}}
        contents += [
            {"role": "user", "parts": [{"text": f"How do I get to {city}?"}]},
            {"role": "model", "parts": [{**call, "thought_signature": "c2lnbmVk" * 9}, call]},
            {"role": "user", "parts": [answer, answer] if number != 1 else [answer]},
            {"role": "model", "parts": [{"text": f"There are three flights to {city}. " * 4}]},
        ]
    return from_gemini(contents, "You plan journeys.", model="gemini-2.5-pro")


def _browser() -> list[NewMessage]:
    """A chat of a web page, as the Vercel AI SDK keeps it, of which the last answer was broken off."""
    chat: list[dict[str, Any]] = []
    for number, question in enumerate(("What is the weather?", "And tomorrow?", "Plot it.")):
        found = {"type": "tool-weather", "toolCallId": f"call-{number}", "input": {"day": number}}
        end = {"state": "output-available", "output": {"log": _LOG}} if number != 2 else {"state": "input-available"}
        parts = [{"type": "step-start"}, {"type": "reasoning", "text": "I ask the station. "}, {**found, **end}]
        said = [{"type": "text", "text": "It rains. " * 12, "state": "done"}] if number != 2 else []
        chat.append({"id": f"u{number}", "role": "user", "parts": [{"type": "text", "text": question}]})
        chat.append({"id": f"a{number}", "role": "assistant", "parts": [*parts, *said]})
    return from_ui_messages(chat)


def _verbatim() -> list[NewMessage]:
    """Anthropic's messages as an application stores them that does not convert: calls and results are blocks."""
    messages: list[NewMessage] = []
    for number in range(4):
        ids = [f"toolu_{number % 3}{letter}" for letter in "ab"]  # the ids of the last turn were used before
        uses = [{"type": "tool_use", "id": id, "name": "look", "input": {"n": number}} for id in ids]
        results = [{"type": "tool_result", "tool_use_id": id, "content": _CODE} for id in ids]
        messages += [
            NewMessage(role="user", content=f"Look at {number}."),
            NewMessage(role="assistant", content=[{"type": "text", "text": "Yes."}, *uses]),
            NewMessage(role="user", content=list(results[: 1 + (number != 1)])),
            NewMessage(role="assistant", content=[{"type": "text", "text": "It is fine. " * 6}]),
        ]
    return messages


RECORDED: Mapping[str, Callable[[], list[NewMessage]]] = {
    "support, OpenAI chat": _support,
    "coding, Anthropic": _coding,
    "research, OpenAI Responses": _research,
    "documents, Bedrock Converse": _documents,
    "travel, Gemini": _travel,
    "browser, UI messages": _browser,
    "verbatim blocks of Anthropic": _verbatim,
}
"""The conversations by name: each is made anew, because the ids of some calls are minted."""
