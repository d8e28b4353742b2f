"""`ContextBuilder` chooses what a model gets to see of a conversation. It only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from session_continuity.context.accounting import Shown
from session_continuity.context.counting import MessageCounter
from session_continuity.context.entries import Entry
from session_continuity.context.report import ConversationContext
from session_continuity.context.rules import ContextRules
from session_continuity.context.source import ContextSource, SourceReader
from session_continuity.context.summary import summary_message
from session_continuity.context.system import SystemMessages
from session_continuity.context.window import Selection, Window
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import TokenBudgetExceededError
from session_continuity.models import CompressionState, Message, Session, TokenBudget

__all__ = ["BuiltContext", "ContextBuilder"]


@dataclass(frozen=True, slots=True)
class BuiltContext:
    """A context, and whether messages were left out because the budget is full."""

    context: ConversationContext
    is_full: bool


class ContextBuilder:
    """Builds contexts, which keep the guarantees in `docs/contexts.md`.

    It reads as little as it needs: the session, its newest and its system messages in one request, then older messages
    page by page until the budget is full.
    """

    def __init__(
        self, storage: StorageAdapter, counter: MessageCounter, on_session_read: Callable[[Session], None]
    ) -> None:
        """`on_session_read` is called with every session that is read."""
        self._counter = counter
        self._reader = SourceReader(storage, on_session_read)

    async def read(
        self, session_id: str, default_budget: TokenBudget | None, max_turns: int | None = None
    ) -> ContextSource:
        """What a context of at most so many turns is chosen from. Raises SessionNotFoundError."""
        return await self._reader.read(session_id, default_budget, max_turns)

    async def reread(self, source: ContextSource, state: CompressionState | None) -> ContextSource:
        """The source after its session was compressed to `state`."""
        return await self._reader.reread(source, state)

    async def build(self, source: ContextSource, rules: ContextRules, *, cached: bool) -> BuiltContext:
        """The context. `cached` is what the report says of the summary.

        A summary that leaves no room for the last turn is left out. Raises TokenBudgetExceededError when the system
        messages and the last turn do not fit.
        """
        system = SystemMessages(source.system.values(), rules.system, self._counter)
        summary = summary_message(source.session.id, source.state)
        fixed = self._fixed_tokens(source, system, summary)
        room = None if source.budget is None else source.budget.available - fixed
        error = None if room is None or room >= 0 else _too_large(source, fixed, system.shown)
        if error is None:
            selection, read = await self._select(source, rules, system, room)
            fixed = self._fixed_tokens(source, system, summary)  # with late system messages
            if source.budget is None or fixed + selection.tokens <= source.budget.available:
                shown = Shown(source, system.shown, summary, selection, read, fixed + selection.tokens)
                return BuiltContext(shown.context(cached=cached), selection.is_full)
            error = _too_large(source, fixed + selection.tokens, selection.entries)
        if summary is None:
            raise error
        return await self.build(await self._reader.reread(source, None), rules, cached=cached)

    def _fixed_tokens(self, source: ContextSource, system: SystemMessages, summary: Message | None) -> int:
        """The tokens of the system messages, of the summary, and of the reply's frame."""
        if summary is None and not system.shown and not source.page:
            return 0
        return system.tokens + (0 if summary is None else self._counter.tokens(summary)) + self._counter.per_reply

    async def _select(
        self, source: ContextSource, rules: ContextRules, system: SystemMessages, room: int | None
    ) -> tuple[Selection, int]:
        """The messages that fit, and how many were read for it."""
        through = None if source.state is None else source.state.shortened_through
        window = Window(room, rules, self._counter, system.is_shown, through)
        page = source.page
        while True:
            for place, message in enumerate(page, 1):
                if message.role == "system":
                    window.shrink(system.add(message))  # it became a system message meanwhile
                window.offer(message)
                if window.is_done and (place < len(page) or page.next_cursor is not None):
                    return await self._bounded(window, source), window.offered
            if page.next_cursor is None:
                return window.select(is_whole=True), window.offered
            page = await self._reader.next_page(source, page)

    async def _bounded(self, window: Window, source: ContextSource) -> Selection:
        """The selection of a window that takes no older messages. The user's last message must be in it."""
        selection = window.select(is_whole=False)
        has_question = any(entry.is_question for entry in selection.entries)
        if not has_question and await self._reader.has_question(source):
            fixed = 0 if source.budget is None or window.room is None else source.budget.available - window.room
            raise _too_large(source, fixed + max(window.least, selection.tokens), selection.entries)
        return selection


def _too_large(source: ContextSource, needed: int, entries: Iterable[Entry]) -> TokenBudgetExceededError:
    """The error for messages that must be in the context and have `needed` tokens in all.

    It names the largest of them, or the newest message where the budget has no room for any.
    """
    newest = next((Entry(message, message.token_count or 0) for message in source.page), None)
    largest = max(entries, key=lambda entry: entry.tokens, default=newest)
    return TokenBudgetExceededError(
        source.session.id,
        requested=needed,
        limit=0 if source.budget is None else source.budget.available,
        message_id=None if largest is None else largest.message.id,
        message_tokens=None if largest is None else largest.tokens,
    )
