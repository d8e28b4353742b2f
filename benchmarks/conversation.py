"""The conversation that every subject stores: the same messages in the same order, about 2.2 KB of JSON each.

It repeats a question, an answer that calls a tool, the tool's result and the final answer, so that a quarter of the
messages have tool calls. The texts are prose with some line breaks and quotes, which JSON must escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Item = dict[str, Any]
"""A message as an application has it: `role`, `content`, and `metadata` where it has any."""

_SENTENCES = (
    "the invoice shows a second charge from the third of March, and I would like to know whether it will be refunded.",
    'My bank says that the payment was "confirmed" twice by your system.',
    "Support told me to wait for a week, which is over since Tuesday.\n",
    "Could you look at both charges and tell me which of them belongs to the order that was cancelled?",
    "The first one carries the number of the order; the second one has no reference at all.\n\n",
)
_SIZES = (260, 420, 3300, 2200, 700, 300, 4600, 2900, 180, 500, 2500, 3900)


def messages() -> Iterator[Item]:
    """Message after message, without end."""
    number = 0
    while True:
        yield _MAKERS[number % len(_MAKERS)](number, _text(number))
        number += 1


def token_count(item: Item) -> int:
    """Stands for a tokenizer, whose time would be the same for every subject."""
    return len(item["content"]) // 4


def _text(number: int) -> str:
    sentences = [f"{number}:", *_SENTENCES[number % len(_SENTENCES) :], *_SENTENCES]
    size = _SIZES[number % len(_SIZES)]
    return " ".join(sentences * (size // 300 + 1))[:size]


def _question(_: int, text: str) -> Item:
    return {"role": "user", "content": text}


def _tool_call(number: int, text: str) -> Item:
    arguments = json.dumps({"customer": "c-4711", "query": _text(number)[:200], "limit": number % 50})
    call = {"id": f"call_{number:024x}", "name": "find_charges", "arguments": arguments}
    return {"role": "assistant", "content": text, "metadata": {"tool_calls": [call]}}


def _tool_result(number: int, text: str) -> Item:
    result = {"tool_call_id": f"call_{number - 1:024x}", "name": "find_charges", "result": {"charges": 2, "open": 1}}
    return {"role": "tool", "content": text, "metadata": {"tool_results": [result]}}


def _answer(_: int, text: str) -> Item:
    return {"role": "assistant", "content": text}


_MAKERS = (_question, _tool_call, _tool_result, _answer)
