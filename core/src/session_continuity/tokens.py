"""How many tokens a message has: one rule for every caller.

A message's count is the sum over its texts: the content, the text blocks, the name and arguments of each tool call,
and the tool results where there is no content, which otherwise says the same. An `image_url` block costs a fixed
number; any other block counts as its JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from session_continuity.errors import ValidationError
from session_continuity.models import Content, MessageMetadata

__all__ = ["TokenCounter", "count_message", "estimate_tokens"]


class TokenCounter(Protocol):
    """Counts the tokens of a text, as the model does that will read it. Pure; called once per text."""

    def __call__(self, text: str, /) -> int: ...


def estimate_tokens(text: str) -> int:
    """A quarter of the text's bytes in UTF-8, rounded up: near enough for English, high for other scripts."""
    size = len(text) if text.isascii() else len(text.encode())
    return (size + 3) // 4


def count_message(content: Content, metadata: MessageMetadata, *, counter: TokenCounter, image_token_cost: int) -> int:
    """The tokens of one message. Raises ValidationError when the counter answers no count."""
    if isinstance(content, str):
        total = counter(content)
    else:
        total = sum(_block_tokens(block, counter, image_token_cost) for block in content)
    total += sum(counter(text) for text in _tool_texts(metadata, with_results=not content))
    if not isinstance(total, int) or total < 0:
        raise ValidationError(f"the token counter must return a whole number from 0 up, not {type(total).__name__}")
    return total


def _block_tokens(block: dict[str, Any], counter: TokenCounter, image_token_cost: int) -> int:
    if block["type"] == "text":
        return counter(block["text"])
    return image_token_cost if block["type"] == "image_url" else counter(_as_text(block))


def _tool_texts(metadata: MessageMetadata, *, with_results: bool) -> Iterator[str]:
    for call in metadata.tool_calls:
        yield call.name
        yield _as_text(call.arguments)
    for result in metadata.tool_results if with_results else ():
        yield _as_text(result.result)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
