"""The messages of a view in the making, and what the report says of each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from session_continuity.blocks.reader import Call, Result, tools_of
from session_continuity.model_base import copied
from session_continuity.models import Message

__all__ = ["Action", "Entry", "MessageReport"]

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

    `calls` and `results` are those in the message, which is read once for both. `is_question` says whether it begins a
    turn: a user's message that is not a tool's result. `stored_tokens` are those of the message as it was stored.
    `is_extra` marks a filled-in result, and results that are shown apart from the rest of their message: these are not
    stored messages.
    """

    message: Message
    tokens: int
    stored_tokens: int = 0
    is_extra: bool = False
    action: Action = "kept"
    reason: str = ""
    calls: Sequence[Call] = field(init=False)
    results: Sequence[Result] = field(init=False)
    is_question: bool = field(init=False)

    def __post_init__(self) -> None:
        self._read()

    def _read(self) -> None:
        self.calls, self.results = tools_of(self.message)
        self.is_question = self.message.role == "user" and not self.results

    def report(self) -> MessageReport:
        """What the report says of the message."""
        return MessageReport(self.message.id, self.action, self.reason, self.tokens)

    def left_out(self, reason: str) -> MessageReport:
        """What the report says of the message if it is left out for this reason."""
        return MessageReport(self.message.id, "left_out", reason, self.tokens)

    def change(self, message: Message, tokens: int, action: Action, reason: str) -> None:
        """Show another message of so many tokens in this one's place. Earlier reasons stay."""
        self.message = copied(message, token_count=tokens)
        self.tokens, self.action = tokens, action
        self._read()
        self.reason = f"{self.reason}; {reason}" if self.reason else reason
