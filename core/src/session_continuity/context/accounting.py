"""From what was selected to a context with its reports. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from session_continuity.context.entries import Entry, MessageReport
from session_continuity.context.report import BudgetReport, CompressionReport, ConversationContext
from session_continuity.context.source import ContextSource
from session_continuity.context.window import Selection
from session_continuity.models import CompressionState, Message

__all__ = ["Shown"]

_FOLDED = "they are in the summary"
_DROPPED = "they were left out by a compression"
_NOT_READ = "they were not read, because the context is full"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a context shows: system messages, the summary, and a selection.

    `read` is how many messages were read for the selection, `tokens` what all of it has with the reply's frame.
    """

    source: ContextSource
    system: Sequence[Entry]
    summary: Message | None
    selection: Selection
    read: int
    tokens: int

    def context(self, *, cached: bool) -> ConversationContext:
        """The context with its reports. `cached` is what the report says of the summary."""
        state = self.source.state
        before, summary = self._before(), [self.summary] if self.summary else []
        selected = self.selection.entries
        messages = [*(entry.message for entry in before), *summary, *(entry.message for entry in selected)]
        stored = [entry for entry in (*before, *selected) if not entry.is_extra]
        return ConversationContext(
            messages=messages,
            budget=self._budget(stored, self.tokens if messages else 0),
            compression=None if state is None else _compression_report(state, cached=cached),
            report=list(self._reports(before)),
        )

    def _before(self) -> list[Entry]:
        """The system messages that stand before the selected turns."""
        selected = {entry.message.id for entry in self.selection.entries}
        return [entry for entry in self.system if entry.message.id not in selected]

    def _budget(self, stored: Sequence[Entry], used: int) -> BudgetReport:
        session, state, budget = self.source.session, self.source.state, self.source.budget
        covered_messages, covered_tokens = (state.covered_messages, state.covered_tokens) if state else (0, 0)
        kept_tokens = sum(entry.stored_tokens for entry in stored)
        return BudgetReport(
            limit=None if budget is None else budget.available,
            used=used,
            kept_messages=len(stored),
            dropped_messages=max(session.message_count - len(stored) - covered_messages, 0),
            dropped_tokens=max(session.token_count - kept_tokens - covered_tokens, 0),
        )

    def _reports(self, before: Sequence[Entry]) -> Iterator[MessageReport]:
        session, state = self.source.session, self.source.state
        covered = 0 if state is None else state.covered_messages
        if state is not None and covered:
            reason = _DROPPED if state.summary is None else _FOLDED
            yield MessageReport(state.covered_until, "folded", reason, state.covered_tokens, covered)
        unread_system = len(before) - len(self.selection.earlier_system)
        unread = session.message_count - covered - self.read - unread_system
        if unread > 0:
            yield MessageReport(None, "left_out", _NOT_READ, 0, unread)
        yield from (entry.report() for entry in before)
        yield from self.selection.left_out
        yield from (entry.report() for entry in self.selection.entries)


def _compression_report(state: CompressionState, *, cached: bool) -> CompressionReport:
    return CompressionReport(
        strategy=state.strategy,
        summary=state.summary,
        covered_messages=state.covered_messages,
        covered_tokens=state.covered_tokens,
        summary_token_count=state.summary_token_count,
        cached=cached,
    )
