"""`Contexts` builds contexts and compresses sessions: `context` reads, `compression` writes, this decides when."""

from __future__ import annotations

from datetime import datetime, timedelta

from session_continuity.compression.compressor import CompressionResult, Compressor
from session_continuity.context.builder import ContextBuilder
from session_continuity.context.report import ConversationContext
from session_continuity.context.rules import ContextOptions, ContextRules
from session_continuity.context.source import ContextSource
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import CompressionError, TokenBudgetExceededError
from session_continuity.events import BudgetExceeded, CompressionApplied, CompressionFailed
from session_continuity.manager.event_bus import EventBus
from session_continuity.manager.options import ManagerSettings
from session_continuity.models import CompressionConfig, Session
from session_continuity.runtime.cache import BoundedCache
from session_continuity.validation import validate

__all__ = ["Contexts"]

_DEFAULT_CONFIG = CompressionConfig(strategy="sliding_window")


class Contexts:
    """The contexts of one manager's sessions. Budget and compression of a session come before the manager's."""

    def __init__(
        self,
        storage: StorageAdapter,
        settings: ManagerSettings,
        builder: ContextBuilder,
        compressor: Compressor,
        events: EventBus,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._builder = builder
        self._compressor = compressor
        self._events = events
        self._pauses: BoundedCache[datetime] = BoundedCache()

    async def build(self, session_id: str, options: ContextOptions) -> ConversationContext:
        """The context of a session. Old messages are compressed first if they do not fit and the budget says so.

        If that fails, they are left out. Raises TokenBudgetExceededError when the system messages and the last turn
        do not fit.
        """
        rules = self._rules(options)
        try:
            source = await self._builder.read(session_id, self._settings.budget, rules.max_turns)
            built = await self._builder.build(source, rules, cached=True)
            if not built.is_full or source.budget is None or source.budget.overflow_strategy != "compress":
                return built.context
            return await self._compressed(source, rules) or built.context
        except TokenBudgetExceededError as error:
            await self._report_excess(session_id, error)
            raise

    async def compress(self, session: Session, strategy: str | None) -> CompressionResult:
        """Compress a session now, by its own strategy or the one named.

        Raises CompressionError when no strategy is configured or known by this name, or when the summarizer fails.
        """
        config = session.compression or self._settings.compression
        if strategy is not None:
            config = validate(CompressionConfig, {**dict(config or ()), "strategy": strategy})
        if config is None:
            raise CompressionError("no compression is configured; name a strategy, for example 'sliding_window'")
        budget = session.token_budget or self._settings.budget
        result = await self._compressor.compress(session, budget, config, self._settings.rules)
        await self._report(session.id, result)
        return result

    def _rules(self, options: ContextOptions) -> ContextRules:
        if not options:
            return self._settings.rules
        return validate(ContextRules, {**dict(self._settings.rules), **options})

    async def _compressed(self, source: ContextSource, rules: ContextRules) -> ConversationContext | None:
        """The context after compressing the session; None when that changed nothing, or failed now or lately."""
        session = source.session
        config = session.compression or self._settings.compression or _DEFAULT_CONFIG
        paused_until = self._pauses.get(session.id)
        if paused_until is not None and self._storage.clock() < paused_until:
            return None
        try:
            result = await self._compressor.compress(session, source.budget, config, rules, source.system.values())
        except CompressionError as error:
            await self._pause(session.id, config.strategy, error)
            return None
        self._pauses.discard(session.id)
        if result.state == session.compression_state:
            return None
        source = await self._builder.reread(source, result.state)
        built = await self._builder.build(source, rules, cached=not result.compressed_messages)
        await self._report(session.id, result)
        return built.context

    async def _pause(self, session_id: str, strategy: str, error: CompressionError) -> None:
        """Make no attempt for a while: a summarizer that is down would cost every turn its time limit."""
        now = self._storage.clock()
        retry_at = now + timedelta(seconds=self._settings.summarizer_pause)
        self._pauses.set(session_id, retry_at)
        await self._events.emit(
            CompressionFailed(session_id=session_id, at=now, strategy=strategy, error=error, retry_at=retry_at)
        )

    async def _report_excess(self, session_id: str, error: TokenBudgetExceededError) -> None:
        await self._events.emit(
            BudgetExceeded(
                session_id=session_id,
                at=self._storage.clock(),
                requested=error.requested,
                limit=error.limit,
                message_id=error.message_id,
                message_tokens=error.message_tokens,
            )
        )

    async def _report(self, session_id: str, result: CompressionResult) -> None:
        if result.compressed_messages or result.shortened_messages:
            await self._events.emit(
                CompressionApplied(
                    session_id=session_id,
                    at=self._storage.clock(),
                    strategy=result.strategy,
                    messages=result.compressed_messages,
                    shortened=result.shortened_messages,
                    tokens_before=result.tokens_before,
                    tokens_after=result.tokens_after,
                )
            )
