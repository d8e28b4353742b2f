"""Summarizers and small words for the tests of folding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Message,
    SessionManager,
    TokenBudget,
)

from .talks import said


class Scribe:
    """A summarizer that writes down what it was given; its summary says which messages it stands for."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.previous: list[str | None] = []
        self.prompts: list[str | None] = []
        self.error: Exception | None = None

    def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
        self.given.append([str(message.content) for message in messages])
        self.previous.append(previous)
        self.prompts.append(prompt)
        if self.error is not None:
            raise self.error
        return f"{previous or ''}[{','.join(self.given[-1])}]"


class AsyncScribe(Scribe):
    """The same as a coroutine function that does not suspend."""

    async def __call__(self, messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:  # type: ignore[override]
        return super().__call__(messages, previous=previous, prompt=prompt)


def compressing(tokens: int, **options: Any) -> TokenBudget:
    return TokenBudget(max_tokens=tokens, overflow_strategy="compress", **options)


def contents(messages: Sequence[Message]) -> list[Any]:
    return [message.content for message in messages]


def write(manager: SessionManager, session_id: str, names: str, tokens: int = 1) -> None:
    manager.add_messages(session_id, [said(name, tokens=tokens) for name in names])


INTRODUCTION = "Summary of the conversation so far:\n"
