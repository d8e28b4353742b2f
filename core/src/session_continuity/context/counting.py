"""Counting the tokens of a message, by one rule for appends, totals, contexts and compression.

What is counted is what is sent: texts, reasoning that is sent again, refusals, names and arguments of calls, results
once, and the frame around each message. Images count by their provider's published formula. Files, audio and video
count by their size in bytes. Nothing in base64 counts as text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from session_continuity.blocks.parts import Call, Media, Other, Part, Reasoning, Result, Text, json_text
from session_continuity.blocks.reader import parts_of, parts_of_value
from session_continuity.context.images import ImageFormula, claude_image
from session_continuity.errors import ValidationError
from session_continuity.models import Message, NewMessage
from session_continuity.values import MAX_MESSAGE_TOKENS

__all__ = ["CountingRule", "MediaCosts", "MessageCounter", "TokenCounter"]

_SHORTEST_BASE64 = 512
_BASE64 = re.compile(rf"[A-Za-z0-9+/_=\-\r\n]{{{_SHORTEST_BASE64},}}")
_BYTES_PER_TOKEN = 25
"""Of a PDF: 50 kB for a page of 2,000 tokens. Recordings have fewer tokens for their bytes."""
_RECORDING_BYTES_PER_TOKEN = 250
_UNKNOWN_FILE = 2000
_OPAQUE_CHARACTERS_PER_TOKEN = 4


class TokenCounter(Protocol):
    """Returns the number of tokens that a text has for the model. It is called once per text and must be pure."""

    def __call__(self, text: str, /) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingRule:
    """How a model counts: the tokens of a text, of the frame around a message, and of an image.

    The defaults are those of OpenAI's chat models, and for images those of Claude.
    """

    text: TokenCounter
    per_message: int = 4
    per_call: int = 8
    per_name: int = 1
    per_reply: int = 3
    image: ImageFormula = claude_image


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCosts:
    """The tokens of media whose size is not known: an image, and a file, audio or video. None: an estimate."""

    image: int | None = None
    file: int | None = None


class MessageCounter:
    """Counts messages by one rule."""

    def __init__(self, rule: CountingRule, costs: MediaCosts = MediaCosts()) -> None:
        self._rule = rule
        self._costs = costs
        self.per_message, self.per_reply = rule.per_message, rule.per_reply

    def count(self, message: Message | NewMessage) -> int:
        """The tokens of the message, also if it has a `token_count`.

        Raises ValidationError if the counter fails or returns something other than a non-negative int, and if the sum
        is too large.
        """
        total = self._rule.per_message + self._name(message) + self.count_parts(parts_of(message))
        if total > MAX_MESSAGE_TOKENS:
            raise ValidationError(
                f"a message has at most {MAX_MESSAGE_TOKENS} tokens; the token counter returned {total}"
            )
        return total

    def tokens(self, message: Message | NewMessage) -> int:
        """The message's `token_count`. It is counted if the message has none."""
        return self.count(message) if message.token_count is None else message.token_count

    def tokens_after(self, tokens: int, before: Message, after: Message) -> int:
        """The tokens of a message that has `tokens`, stated by its writer perhaps, after it was changed for a view."""
        return max(tokens + self.count(after) - self.count(before), 0)

    def count_parts(self, parts: Iterable[Part]) -> int:
        """The tokens of some parts of a message, without its frame."""
        return sum(map(self._part, parts))

    def count_text(self, text: str) -> int:
        """The tokens of a text. Raises ValidationError as `count` does."""
        try:
            count = self._rule.text(text)
        except Exception as error:
            raise ValidationError(f"the token counter failed with {type(error).__name__}") from error
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValidationError("the token counter must return a whole number, 0 or more")
        return count

    def _part(self, part: Part) -> int:
        match part:
            case Text():
                return self.count_text(part.text)
            case Reasoning():
                return self._reasoning(part)
            case Media():
                return self._media(part)
            case Call():
                return self._rule.per_call + self.count_text(part.name) + self.count_text(part.arguments_text)
            case Result():
                return self._result(part)
            case Other():
                return self._other(part)

    def _result(self, part: Result) -> int:
        """The parts of the value. What is in base64 in a value that is neither text nor blocks does not count."""
        parts = parts_of_value(part.value, part.place)
        if isinstance(part.value, str):
            return self.count_parts(parts)
        return sum(self._json(found.text) if isinstance(found, Text) else self._part(found) for found in parts)

    def _json(self, text: str) -> int:
        """The tokens of JSON without what is in base64 in it."""
        return self.count_text(_BASE64.sub("", text) if len(text) >= _SHORTEST_BASE64 else text)

    def _reasoning(self, part: Reasoning) -> int:
        """The words, or an estimate from the length where there is only the encrypted form."""
        if part.text:
            return self.count_text(part.text)
        return math.ceil(len(part.opaque) / _OPAQUE_CHARACTERS_PER_TOKEN)

    def _media(self, media: Media) -> int:
        if media.kind == "image":
            size = media.size()
            unknown = size is None and media.detail != "low" and self._costs.image is not None
            return cast("int", self._costs.image) if unknown else self._rule.image(size, media.detail)
        if self._costs.file is not None:
            return self._costs.file
        per_token = _BYTES_PER_TOKEN if media.kind == "file" else _RECORDING_BYTES_PER_TOKEN
        return math.ceil(media.data_bytes() / per_token) if media.data else _UNKNOWN_FILE

    def _other(self, part: Other) -> int:
        """The JSON of a block that has a meaning for its provider only, without what is in base64."""
        return self._json(json_text(part.block))

    def _name(self, message: Message | NewMessage) -> int:
        """The frame of OpenAI's `name` of a speaker."""
        kept = message.metadata.annotations.get("openai") if message.metadata.annotations else None
        name = cast("dict[str, Any]", kept).get("name") if isinstance(kept, dict) else None
        return self._rule.per_name + self.count_text(name) if isinstance(name, str) and name else 0
