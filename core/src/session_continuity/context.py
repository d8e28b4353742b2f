"""What a model gets to see of a conversation, and the account of what was left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from session_continuity.adapter import MAX_PAGE, MessageQuery, Patch, StorageAdapter, messages_with_ids
from session_continuity.compression import (
    CompressionPlan,
    CompressionResult,
    CompressionStrategy,
    Summarizer,
    Wait,
    next_state,
    planned,
    summarize,
    unknown,
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
from session_continuity.recent import Recent
from session_continuity.window import Window

__all__ = ["BudgetReport", "CompressionReport", "ContextReader", "ConversationContext"]

SUMMARY_ID = "summary"
_SUMMARY_INTRODUCTION = "Summary of the conversation so far:\n"
_SMALLEST_PAGE = 4
_FIRST_QUERY = MessageQuery(order="desc", limit=16)
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
    """Builds contexts by reading as little as they need: session, newest messages and system messages in one go, then
    older messages page by page until the budget is full; the summary lies in the session."""

    def __init__(
        self,
        storage: StorageAdapter,
        count: Callable[[Message], int],
        strategies: Mapping[str, CompressionStrategy],
        summarizer: Summarizer | None,
        wait: Wait,
        saw: Callable[[Session], None],
    ) -> None:
        """`saw` is told of each session as it was read."""
        self._storage = storage
        self._count = count
        self._strategies = strategies
        self._summarizer = summarizer
        self._wait = wait
        self._saw = saw
        self._asked: Recent[MessageQuery] = Recent()

    async def read(
        self, session_id: str, budget: TokenBudget | None, compression: CompressionConfig | None
    ) -> tuple[ConversationContext, CompressionResult | None]:
        """The context of a session, and the compression that it took, if any. A budget and a compression of the
        session's own come before the given ones.

        A cached summary that no longer fits is left out. Raises SessionNotFoundError, and TokenBudgetExceededError
        when the system messages alone do not fit the budget.
        """
        opening = await self._opening(session_id, budget)
        context, is_full = await self._fitted(opening, cached=True)
        budget, compression = opening.budget, opening.session.compression or compression
        if not is_full or budget is None or budget.overflow_strategy != "compress":
            return context, None
        session = opening.session
        result = await self.compress(
            session, budget, compression or CompressionConfig(strategy="sliding_window"), opening.system.values()
        )
        if result.state == session.compression_state:
            return context, None
        folded = await self._reopened(session, result.state, budget, opening.system)
        context, _ = await self._fitted(folded, cached=not result.folded_messages)
        return context, result

    async def compress(
        self,
        session: Session,
        budget: TokenBudget | None,
        config: CompressionConfig,
        system: Iterable[Message] | None = None,
    ) -> CompressionResult:
        """Fold what the strategy wants folded and keep the state in the session. `system` are the session's system
        messages where they are known; otherwise they are read.

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
            if system is None:
                system = await messages_with_ids(self._storage, session.id, session.system_message_ids)
            room = budget.available - sum(map(self._count, system))
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
        if problem := unknown(config, self._strategies):
            raise CompressionError(problem)
        return self._strategies[config.strategy]

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

    async def _opening(self, session_id: str, budget: TokenBudget | None) -> _Opening:
        """Session, system messages and first page, read in one go by the query that served last time. When the session
        says that it takes another one, the page is read again."""
        asked = self._asked.get(session_id) or _FIRST_QUERY
        try:
            read = await self._storage.get_conversation(session_id, asked)
        except MessageNotFoundError:
            asked = replace(asked, after_id=None)
            read = await self._storage.get_conversation(session_id, asked)
        session, page = read.session, read.messages
        self._saw(session)
        budget, state = session.token_budget or budget, session.compression_state
        system = {message.id: message for message in (*read.system_messages, *reversed(page)) if _is_system(message)}
        if asked.after_id != (None if state is None else state.covered_until):
            return await self._reopened(session, state, budget, system)
        query = replace(asked, limit=_first_length(session, budget))
        return await self._lengthened(self._noted(_Opening(session, state, budget, system, query, page)))

    async def _reopened(
        self,
        session: Session,
        state: CompressionState | None,
        budget: TokenBudget | None,
        system: Mapping[str, Message],
    ) -> _Opening:
        """The opening with the first page after this fold. A fold whose last message is gone no longer says what it
        covers; then it is left aside."""
        query = MessageQuery(order="desc", limit=_first_length(session, budget))
        if state is not None:
            after_fold = replace(query, after_id=state.covered_until)
            try:
                page = await self._storage.get_messages(session.id, after_fold)
            except MessageNotFoundError:
                return await self._reopened(session, None, budget, system)
            return self._noted(_Opening(session, state, budget, system, after_fold, page))
        page = await self._storage.get_messages(session.id, query)
        return self._noted(_Opening(session, None, budget, system, query, page))

    def _noted(self, opening: _Opening) -> _Opening:
        """The opening, with a note of what to ask for next time."""
        query = opening.query
        self._asked.note(opening.session.id, replace(query, limit=_with_headroom(query.limit)))
        return opening

    async def _lengthened(self, opening: _Opening) -> _Opening:
        """The same with a first page as long as its query has it, where there is so much: one large page costs less
        than several."""
        page, missing = opening.page, opening.query.limit - len(opening.page)
        if missing <= 0 or page.next_cursor is None:
            return opening
        rest = await self._storage.get_messages(
            opening.session.id, replace(opening.query, limit=missing), cursor=page.next_cursor
        )
        return replace(opening, page=Page((*page, *rest), rest.next_cursor))

    async def _fitted(self, opening: _Opening, *, cached: bool) -> tuple[ConversationContext, bool]:
        session, state, budget, page = opening.session, opening.state, opening.budget, opening.page
        earlier = opening.earlier_system()
        summary = None if state is None else _summary_message(session.id, state)
        fixed = [*earlier, *filter(_is_system, page)]
        room = _room(session, budget, sum(map(self._count, fixed)))
        if summary and room is not None:
            room -= self._count(summary)
            if room < 0:
                unfolded = await self._reopened(session, None, budget, opening.system)
                return await self._fitted(unfolded, cached=cached)
        window = Window(room)
        await self._fill(window, opening, {message.id for message in fixed})
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

    async def _fill(self, window: Window, opening: _Opening, known: set[str]) -> None:
        page = opening.page
        while True:
            for message in page:
                if _is_system(message):
                    if message.id not in known and window.room is not None:
                        window.room -= self._count(message)
                    window.keep(message)
                else:
                    window.offer(message, self._count(message))
            if window.is_full or page.next_cursor is None:
                return
            page = await self._storage.get_messages(opening.session.id, opening.query, cursor=page.next_cursor)

    async def _tail(self, session: Session) -> tuple[CompressionState | None, list[Message]]:
        """The fold and every message after it, oldest first, without system messages."""
        state = session.compression_state
        if state is not None:
            try:
                return state, await self._messages(session, MessageQuery(after_id=state.covered_until, roles=_SPOKEN))
            except MessageNotFoundError:
                state = None
        return state, await self._messages(session, MessageQuery(roles=_SPOKEN))

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


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a context begins with: the session, its fold, budget and system messages, and the newest messages after the
    fold, with the query that reads on."""

    session: Session
    state: CompressionState | None
    budget: TokenBudget | None
    system: Mapping[str, Message]
    query: MessageQuery
    page: Page[Message]

    def earlier_system(self) -> list[Message]:
        """The system messages that are not in the page, oldest first."""
        in_page = {message.id for message in self.page}
        return [message for message in self.system.values() if message.id not in in_page]


def _is_system(message: Message) -> bool:
    return message.role == "system"


def _with_headroom(limit: int) -> int:
    """A little more, because the mean size of messages moves."""
    return min(limit + limit // 8, MAX_PAGE)


def _first_length(session: Session, budget: TokenBudget | None) -> int:
    """About as many messages as the budget holds, going by their mean size; while there are none, nothing is known."""
    if budget is not None and not session.message_count:
        return _FIRST_QUERY.limit
    if budget is None or not session.token_count:
        return MAX_PAGE
    mean = session.token_count / session.message_count
    return min(max(math.ceil(budget.available / mean) + 1, _SMALLEST_PAGE), MAX_PAGE)


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
