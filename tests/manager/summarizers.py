"""Summarizers for the tests of compression, and short ways to set up what they compress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import Message, SessionManager, TokenBudget

from ..kit.conversations import REPLY, said

INTRODUCTION = "Summary of the conversation so far:\n"
"""How a summary begins in a context."""


class RecordingSummarizer:
    """Records its arguments. Its summary is the previous one, followed by the contents of the messages in brackets."""

    def __init__(self) -> None:
        self.received: list[list[str]] = []
        self.previous: list[str | None] = []
        self.prompts: list[str | None] = []
        self.error: Exception | None = None
        """Raised instead of returning a summary."""

    def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
        self.received.append([str(message.content) for message in messages])
        self.previous.append(previous)
        self.prompts.append(prompt)
        if self.error is not None:
            raise self.error
        return f"{previous or ''}[{','.join(self.received[-1])}]"


class AsyncRecordingSummarizer(RecordingSummarizer):
    """The same as a coroutine function that does not suspend."""

    async def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:  # type: ignore[override]
        return super().__call__(messages, previous=previous, prompt=prompt)


def compressing(tokens: int, **options: Any) -> TokenBudget:
    """A budget of so many tokens for messages, whose overflow is compressed."""
    return TokenBudget(max_tokens=tokens + REPLY, overflow_strategy="compress", **options)


def write(manager: SessionManager, session_id: str, letters: str, tokens: int = 1) -> None:
    """Add a user's message for each letter, all in one batch."""
    manager.add_messages(session_id, [said(letter, tokens=tokens) for letter in letters])
