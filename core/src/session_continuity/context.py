"""What a model gets to see of a conversation, and the account of what was left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from session_continuity.adapter import MAX_PAGE, MessageQuery, Patch, StorageAdapter
from session_continuity.compression import (
    CompressionPlan,
    CompressionResult,
    CompressionStrategy,
    Summarizer,
    Wait,
    next_state,
    planned,
    summarize,
)
from session_continuity.errors import (
    CompressionError,
    ConcurrencyError,
    MessageNotFoundError,
    SessionNotFoundError,
    TokenBudgetExceededError,
)
from session_continuity.models import CompressionConfig, CompressionState, Message, Role, Session, TokenBudget
from session_continuity.paging import Page, collect
from session_continuity.window import Window

__all__ = ["BudgetReport", "CompressionReport", "ContextReader", "ConversationContext"]

SUMMARY_ID = "summary"
_SUMMARY_INTRODUCTION = "Summary of the conversation so far:\n"
_SMALLEST_PAGE = 4
_SPOKEN = frozenset[Role](get_args(Role)) - {"system"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """How a context met its budget, in tokens. `limit` is None without a budget. Dropped is what is stored but
    neither in the context nor folded into its summary."""

    limit: int | None
    used: int
    kept_messages: int
    dropped_messages: int
    dropped_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionReport:
    """The summary in a context. `cached` says that it was read, not made for this context."""

    strategy: str
    summary: str | None
    covered_messages: int
    covered_tokens: int
    summary_token_count: int
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationContext:
    """Messages for a model, oldest first, and how they came about."""

    messages: list[Message]
    budget: BudgetReport
    compression: CompressionReport | None


class ContextReader:
    """Builds contexts by reading as little as they need: the newest messages page by page until the budget is full,
    the system messages by their ids, and the summary from the session."""

    def __init__(
        self,
        storage: StorageAdapter,
        count: Callable[[Message], int],
        strategies: Mapping[str, CompressionStrategy],
        summarizer: Summarizer | None,
        wait: Wait,
    ) -> None:
        self._storage = storage
        self._count = count
        self._strategies = strategies
        self._summarizer = summarizer
        self._wait = wait

    async def read(
        self, session: Session, budget: TokenBudget | None, compression: CompressionConfig | None
    ) -> tuple[ConversationContext, CompressionResult | None]:
        """The context of a session, and the compression that it took, if any.

        A cached summary that no longer fits is left out. Raises TokenBudgetExceededError when the system messages
        alone do not fit the budget.
        """
        context, is_full = await self._fitted(session, budget, cached=True)
        if not is_full or budget is None or budget.overflow_strategy != "compress":
            return context, None
        result = await self.compress(session, budget, compression or CompressionConfig(strategy="sliding_window"))
        if result.state == session.compression_state:
            return context, None
        folded = session.model_copy(update={"compression_state": result.state})
        context, _ = await self._fitted(folded, budget, cached=not result.folded_messages)
        return context, result

    async def compress(
        self, session: Session, budget: TokenBudget | None, config: CompressionConfig
    ) -> CompressionResult:
        """Fold what the strategy wants folded and keep the state in the session.

        Nothing is folded when somebody else folded, edited or deleted messages meanwhile. Raises CompressionError for
        an unknown strategy, and for a summarizer that fails or writes more than the budget; the session stays as it
        was.
        """
        previous, tail = await self._tail(session)
        tokens = [self._count(message) for message in tail]
        summary_tokens = previous.summary_token_count if previous else 0
        before = sum(tokens) + summary_tokens
        room = before
        if budget is not None:
            room = budget.available - sum(map(self._count, await self._system_messages(session)))
        plan = planned(self._strategy(config), tail, tokens, max(room - summary_tokens, 0), config)
        unchanged = CompressionResult(
            strategy=config.strategy, folded_messages=0, tokens_before=before, tokens_after=before, state=previous
        )
        if plan.fold == 0:
            return unchanged
        folded = tail[: plan.fold]
        state = await self._folded(session, previous, folded, plan, config)
        if budget is not None and state.summary_token_count > room:
            raise CompressionError(f"the summary has {state.summary_token_count} tokens, the budget leaves {room}")
        kept = await self._kept(session, state, previous, folded)
        if kept != state:
            return replace(unchanged, state=kept)
        after = sum(tokens[plan.fold :]) + state.summary_token_count
        return replace(unchanged, folded_messages=plan.fold, tokens_after=after, state=state)

    def _strategy(self, config: CompressionConfig) -> CompressionStrategy:
        strategy = self._strategies.get(config.strategy)
        if strategy is None:
            known = ", ".join(sorted(self._strategies))
            raise CompressionError(f"no compression strategy has this name; there are {known}")
        return strategy

    async def _folded(
        self,
        session: Session,
        previous: CompressionState | None,
        folded: Sequence[Message],
        plan: CompressionPlan,
        config: CompressionConfig,
    ) -> CompressionState:
        """The state after these messages were folded on top of the previous state."""
        summary = previous.summary if previous else None
        if plan.summary:
            summary = await summarize(
                folded,
                summarizer=self._summarizer,
                wait=self._wait,
                previous=summary,
                prompt=config.summarization_prompt,
            )
        tokens = sum(map(self._count, folded))
        drafted = next_state(
            previous, folded, tokens, strategy=config.strategy, summary=summary, now=self._storage.clock()
        )
        message = _summary_message(session.id, drafted)
        return drafted.model_copy(update={"summary_token_count": self._count(message) if message else 0})

    async def _kept(
        self,
        session: Session,
        state: CompressionState,
        previous: CompressionState | None,
        folded: Sequence[Message],
    ) -> CompressionState | None:
        """Keep the state and return the one that the session has then: another when somebody changed it meanwhile,
        none when a folded message was edited or deleted meanwhile.

        Whoever edits a message drops the state afterwards, but cannot see one that is not kept yet; therefore what
        was put into words is read once more after keeping.
        """
        stored = await self._save(session, state)
        if stored != state or state.summary is None or await self._follow(session, previous, folded):
            return stored
        await self._storage.update_session(session.id, Patch(clear=frozenset({"compression_state"})))
        return None

    async def _save(self, session: Session, state: CompressionState) -> CompressionState | None:
        """Keep the state unless the kept one was changed meanwhile; return the one that is kept."""
        version = session.version
        while True:
            try:
                patch = Patch(set={"compression_state": state})
                await self._storage.update_session(session.id, patch, expected_version=version)
                return state
            except ConcurrencyError as conflict:
                current = conflict.current or await self._storage.get_session(session.id)
                if current is None:
                    raise SessionNotFoundError(session.id) from conflict
                if current.compression_state != session.compression_state:
                    return current.compression_state
                version = current.version

    async def _follow(self, session: Session, state: CompressionState | None, messages: Sequence[Message]) -> bool:
        """Whether these messages still follow the fold, unchanged."""
        query = MessageQuery(after_id=None if state is None else state.covered_until, roles=_SPOKEN)
        try:
            return await self._messages(session, query, limit=len(messages)) == messages
        except MessageNotFoundError:
            return False

    async def _fitted(
        self, session: Session, budget: TokenBudget | None, *, cached: bool
    ) -> tuple[ConversationContext, bool]:
        state, query, page = await self._first_page(session, _newest_first(session, budget))
        earlier = await self._system_messages(session, unless=page)
        summary = None if state is None else _summary_message(session.id, state)
        fixed = [*earlier, *(message for message in page if message.role == "system")]
        room = _room(session, budget, sum(map(self._count, fixed)))
        if summary and room is not None:
            room -= self._count(summary)
            if room < 0:
                unfolded = session.model_copy(update={"compression_state": None})
                return await self._fitted(unfolded, budget, cached=cached)
        window = Window(room)
        await self._fill(window, session, query, page, {message.id for message in fixed})
        kept = window.messages()
        shown = {message.id for message in kept}
        lead = [message for message in earlier if message.id not in shown]
        messages = [*lead, *([summary] if summary else []), *kept]
        context = ConversationContext(
            messages=messages,
            budget=self._budget_report(session, budget, messages, [*lead, *kept], state),
            compression=None if state is None else _compression_report(state, cached=cached),
        )
        return context, window.is_full

    async def _fill(
        self, window: Window, session: Session, query: MessageQuery, page: Page[Message], known: set[str]
    ) -> None:
        while True:
            for message in page:
                if message.role == "system":
                    if message.id not in known and window.room is not None:
                        window.room -= self._count(message)
                    window.keep(message)
                else:
                    window.offer(message, self._count(message))
            if window.is_full or page.next_cursor is None:
                return
            page = await self._storage.get_messages(session.id, query, cursor=page.next_cursor)

    async def _first_page(
        self, session: Session, query: MessageQuery
    ) -> tuple[CompressionState | None, MessageQuery, Page[Message]]:
        """The first page after the session's fold. A fold whose last message is gone no longer says what it covers;
        then it is left aside."""
        state = session.compression_state
        if state is not None:
            after_fold = replace(query, after_id=state.covered_until)
            try:
                return state, after_fold, await self._storage.get_messages(session.id, after_fold)
            except MessageNotFoundError:
                state = None
        return state, query, await self._storage.get_messages(session.id, query)

    async def _tail(self, session: Session) -> tuple[CompressionState | None, list[Message]]:
        """The fold and every message after it, oldest first, without system messages."""
        state = session.compression_state
        if state is not None:
            try:
                return state, await self._messages(session, MessageQuery(after_id=state.covered_until, roles=_SPOKEN))
            except MessageNotFoundError:
                state = None
        return state, await self._messages(session, MessageQuery(roles=_SPOKEN))

    async def _system_messages(self, session: Session, *, unless: Iterable[Message] = ()) -> list[Message]:
        """The system messages that are not among these, oldest first."""
        missing = frozenset(session.system_message_ids).difference(message.id for message in unless)
        return await self._messages(session, MessageQuery(ids=missing)) if missing else []

    async def _messages(self, session: Session, query: MessageQuery, *, limit: int | None = None) -> list[Message]:
        page = await collect(
            lambda size, cursor: self._storage.get_messages(session.id, replace(query, limit=size), cursor=cursor),
            limit,
            None,
        )
        return list(page)

    def _budget_report(
        self,
        session: Session,
        budget: TokenBudget | None,
        messages: Sequence[Message],
        stored: Sequence[Message],
        state: CompressionState | None,
    ) -> BudgetReport:
        covered = (state.covered_messages, state.covered_tokens) if state else (0, 0)
        return BudgetReport(
            limit=None if budget is None else budget.available,
            used=sum(map(self._count, messages)),
            kept_messages=len(stored),
            dropped_messages=max(session.message_count - len(stored) - covered[0], 0),
            dropped_tokens=max(session.token_count - sum(map(self._count, stored)) - covered[1], 0),
        )


def _newest_first(session: Session, budget: TokenBudget | None) -> MessageQuery:
    """The query whose first page holds about as many messages as the budget does, going by their mean size."""
    limit = MAX_PAGE
    if budget is not None and session.message_count and session.token_count:
        mean = session.token_count / session.message_count
        limit = min(max(math.ceil(budget.available / mean) + 1, _SMALLEST_PAGE), MAX_PAGE)
    return MessageQuery(order="desc", limit=limit)


def _room(session: Session, budget: TokenBudget | None, fixed: int) -> int | None:
    if budget is None:
        return None
    if fixed > budget.available:
        raise TokenBudgetExceededError(session.id, requested=fixed, limit=budget.available)
    return budget.available - fixed


def _summary_message(session_id: str, state: CompressionState) -> Message | None:
    """The summary as models read it: a system message before those it does not cover."""
    if state.summary is None:
        return None
    return Message(
        id=SUMMARY_ID,
        session_id=session_id,
        role="system",
        content=_SUMMARY_INTRODUCTION + state.summary,
        token_count=state.summary_token_count or None,
        created_at=state.updated_at,
    )


def _compression_report(state: CompressionState, *, cached: bool) -> CompressionReport:
    return CompressionReport(
        strategy=state.strategy,
        summary=state.summary,
        covered_messages=state.covered_messages,
        covered_tokens=state.covered_tokens,
        summary_token_count=state.summary_token_count,
        cached=cached,
    )
