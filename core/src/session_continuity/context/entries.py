"""The messages of a view in the making, and what the report says of each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from session_continuity.blocks.reader import Call, Result, calls_of, results_of
from session_continuity.models import Message

__all__ = ["Action", "Entry", "MessageReport", "has_parts_of_tools"]

Action = Literal["kept", "changed", "cut", "filled", "folded", "left_out"]


class MessageReport(NamedTuple):
    """What became of a stored message in a context, and why.

    `action` is `kept`, `changed` (shown in a form that providers accept), `cut` (a tool's result was shortened),
    `filled` (it is not stored and stands for a missing result), `folded` (into the summary) or `left_out`. `reason` is
    empty for a message that is kept as it is. `tokens` are those of the message as shown, or as stored where it is not
    shown.

    `messages` is 1. Older messages that were not read have one report together: `messages` is their number, and
    `message_id` that of the last one, or None where it is not known.
    """

    message_id: str | None
    action: Action
    reason: str
    tokens: int
    messages: int = 1


@dataclass(slots=True)
class Entry:
    """A message of a view. `action` and `reason` are as in `MessageReport`.

    `stored_tokens` are those of the message as it was stored. `is_extra` marks a filled-in result, and results that are
    shown apart from the rest of their message: these are not stored messages.
    """

    message: Message
    tokens: int
    stored_tokens: int = 0
    is_extra: bool = False
    action: Action = "kept"
    reason: str = ""
    _calls: Sequence[Call] | None = None
    _results: Sequence[Result] | None = None

    @property
    def calls(self) -> Sequence[Call]:
        """The calls of the message, read once."""
        if self._calls is None:
            self._calls = calls_of(self.message) if has_parts_of_tools(self.message) else ()
        return self._calls

    @property
    def results(self) -> Sequence[Result]:
        """The results in the message, read once."""
        if self._results is None:
            self._results = results_of(self.message) if has_parts_of_tools(self.message) else ()
        return self._results

    @property
    def is_question(self) -> bool:
        """Whether the message begins a turn: a user's message that is not a tool's result."""
        return self.message.role == "user" and not self.results

    def report(self) -> MessageReport:
        """What the report says of the message."""
        return MessageReport(self.message.id, self.action, self.reason, self.tokens)

    def left_out(self, reason: str) -> MessageReport:
        """What the report says of the message if it is left out for this reason."""
        return MessageReport(self.message.id, "left_out", reason, self.tokens)

    def change(self, message: Message, tokens: int, action: Action, reason: str) -> None:
        """Show another message of so many tokens in this one's place. Earlier reasons stay."""
        self.message = message.model_copy(update={"token_count": tokens})
        self.tokens, self.action = tokens, action
        self._calls = self._results = None
        self.reason = f"{self.reason}; {reason}" if self.reason else reason


def has_parts_of_tools(message: Message) -> bool:
    """Whether the message may have calls or results: it has typed ones, or its content is blocks."""
    metadata = message.metadata
    return bool(metadata.tool_calls or metadata.tool_results) or not isinstance(message.content, str)
