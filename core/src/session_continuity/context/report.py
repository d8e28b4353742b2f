"""A conversation's context with an account of how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field

from session_continuity.context.entries import MessageReport
from session_continuity.models import Message

__all__ = ["BudgetReport", "CompressionReport", "ConversationContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """How a context met its budget, in tokens.

    `limit` is None without a budget. `used` is what the provider counts: the messages with their frames, the summary,
    and the frame of the reply. Dropped messages are stored, but neither in the context nor part of its summary.
    """

    limit: int | None
    used: int
    kept_messages: int
    dropped_messages: int
    dropped_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionReport:
    """The summary in a context. `cached` is True when it was read, and False when it was made for this context."""

    strategy: str
    summary: str | None
    covered_messages: int
    covered_tokens: int
    summary_token_count: int
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationContext:
    """The messages for a model, oldest first, and how they were chosen.

    `report` says of each stored message what became of it, oldest first within each of its parts: the messages of the
    context, those that were read and left out, and those that were not read.
    """

    messages: list[Message]
    budget: BudgetReport
    compression: CompressionReport | None
    report: list[MessageReport] = field(default_factory=list[MessageReport], compare=False)
