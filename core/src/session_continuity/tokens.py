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
from session_continuity.models import MAX_MESSAGE_TOKENS, Content, MessageMetadata

__all__ = ["TokenCounter", "count_message", "estimate_tokens"]


class TokenCounter(Protocol):
    """Counts the tokens of a text, as the model does that will read it. Pure; called once per text."""

    def __call__(self, text: str, /) -> int: ...


def estimate_tokens(text: str) -> int:
    """A quarter of the text's bytes in UTF-8, rounded up: near enough for English, high for other scripts."""
    size = len(text) if text.isascii() else len(text.encode())
    return (size + 3) // 4


def count_message(content: Content, metadata: MessageMetadata, *, counter: TokenCounter, image_token_cost: int) -> int:
    """The tokens of one message. Raises ValidationError for a counter that fails, and for a count that is none, or
    that no message has."""
    total = 0
    for text in _texts(content, metadata):
        total += image_token_cost if text is None else _counted(counter, text)
    if total > MAX_MESSAGE_TOKENS:
        raise ValidationError(f"a message has at most {MAX_MESSAGE_TOKENS} tokens, the token counter says {total}")
    return total


def _counted(counter: TokenCounter, text: str) -> int:
    try:
        count = counter(text)
    except Exception as error:
        raise ValidationError(f"the token counter failed: {type(error).__name__}") from error
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValidationError("the token counter must return a whole number from 0 up")
    return count


def _texts(content: Content, metadata: MessageMetadata) -> Iterator[str | None]:
    """The texts that count; None for an image."""
    for block in [content] if isinstance(content, str) else content:
        yield block if isinstance(block, str) else _block_text(block)
    for call in metadata.tool_calls:
        yield call.name
        yield _as_text(call.arguments)
    for result in metadata.tool_results if not content else ():
        yield _as_text(result.result)


def _block_text(block: dict[str, Any]) -> str | None:
    if block["type"] == "text":
        return str(block["text"])
    return None if block["type"] == "image_url" else _as_text(block)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
