"""`Compressor` compresses old messages of a session and stores the summary in it. Nothing else writes a summary.

The messages stay stored. A later context reads the summary and the messages after it. The next compression continues
the summary instead of reading its messages again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from session_continuity.compression.planning import make_plan
from session_continuity.compression.strategies import CompressionPlan, CompressionStrategy
from session_continuity.compression.summarizer import Summarizer, summarize
from session_continuity.context.counting import MessageCounter
from session_continuity.context.rules import ContextRules
from session_continuity.context.shortening import SHORTEST, cut_results
from session_continuity.context.summary import summary_message
from session_continuity.context.system import SystemMessages
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.changes import change_session
from session_continuity.contract.paging import collect
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery
from session_continuity.contract.reading import messages_with_ids
from session_continuity.errors import CompressionError, MessageNotFoundError
from session_continuity.models import CompressionConfig, CompressionState, Message, Role, Session, TokenBudget
from session_continuity.runtime.callbacks import CallLimited

__all__ = ["CompressionResult", "Compressor"]

_COMPRESSIBLE = frozenset[Role](get_args(Role)) - {"system"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionResult:
    """What a compression did.

    `compressed_messages` is how many messages were compressed now, 0 when there was nothing to do. In
    `shortened_messages` more, results of tools are now shown shortened. Later contexts start from `state`.
    """

    strategy: str
    compressed_messages: int
    tokens_before: int
    tokens_after: int
    state: CompressionState | None
    shortened_messages: int = 0

    @property
    def summary(self) -> str | None:
        """The summary, if the strategy makes one."""
        return None if self.state is None else self.state.summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uncompressed:
    """What a compression starts from: the state before it, the messages after that, and the tokens of each."""

    previous: CompressionState | None
    messages: list[Message]
    tokens: list[int]

    @property
    def summary_tokens(self) -> int:
        return self.previous.summary_token_count if self.previous else 0

    @property
    def total(self) -> int:
        return sum(self.tokens) + self.summary_tokens


class Compressor:
    """Compresses the sessions of one manager. A summarizer has `timeout` seconds for its answer."""

    def __init__(
        self,
        storage: StorageAdapter,
        *,
        counter: MessageCounter,
        strategies: Mapping[str, CompressionStrategy],
        summarizer: Summarizer | None,
        timeout: float,
        call_limited: CallLimited,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._counter = counter
        self._strategies = strategies
        self._summarizer = summarizer
        self._timeout = timeout
        self._call_limited = call_limited
        self._sleep = sleep

    async def compress(
        self,
        session: Session,
        budget: TokenBudget | None,
        config: CompressionConfig,
        rules: ContextRules,
        system: Iterable[Message] | None = None,
    ) -> CompressionResult:
        """Compress what the strategy plans, and store the state in the session.

        `system` are the session's system messages; without it they are read when a budget asks for them. Nothing is
        compressed when somebody else compressed, edited or deleted messages meanwhile. Raises CompressionError for an
        unknown strategy, and for a summarizer that fails or writes more than the budget. The session is then unchanged.
        """
        found = await self._read_uncompressed(session, rules)
        room = found.total if budget is None else budget.available - await self._fixed_tokens(session, rules, system)
        plan = make_plan(self._strategies, found.messages, found.tokens, max(room - found.summary_tokens, 0), config)
        unchanged = CompressionResult(
            strategy=config.strategy,
            compressed_messages=0,
            tokens_before=found.total,
            tokens_after=found.total,
            state=found.previous,
        )
        state = await self._next_state(session, found, plan, config)
        if state is None:
            return unchanged
        if budget is not None and state.summary_token_count > room:
            raise CompressionError(f"the summary has {state.summary_token_count} tokens, the budget leaves {room}")
        compressed = found.messages[: plan.count]
        stored = await self._store(session, state, found.previous, compressed)
        if stored != state:
            return replace(unchanged, state=stored)
        kept = (self._shown_tokens(message, state, rules) for message in found.messages[plan.count :])
        after = sum(kept) + state.summary_token_count
        return replace(
            unchanged,
            compressed_messages=plan.count,
            shortened_messages=plan.shorten,
            tokens_after=after,
            state=state,
        )

    async def _fixed_tokens(self, session: Session, rules: ContextRules, system: Iterable[Message] | None) -> int:
        """The tokens of a context that no compression changes: system messages, and the frame of the reply."""
        if system is None:
            system = await messages_with_ids(self._storage, session.id, session.system_message_ids)
        return SystemMessages(system, rules.system, self._counter).tokens + self._counter.per_reply

    def _shown_tokens(self, message: Message, state: CompressionState | None, rules: ContextRules) -> int:
        """The tokens of a message as a context shows it, with long results cut."""
        tokens, limit = self._counter.tokens(message), rules.max_tool_result_tokens
        if state is not None and state.shortened_through and message.created_at <= state.shortened_through:
            limit = SHORTEST
        if limit is None or tokens <= limit:
            return tokens
        shown = cut_results(message, limit, self._counter)
        return tokens if shown is message else self._counter.tokens_after(tokens, message, shown)

    async def _next_state(
        self, session: Session, found: _Uncompressed, plan: CompressionPlan, config: CompressionConfig
    ) -> CompressionState | None:
        """The state after the plan was carried out; None if that changes nothing."""
        previous, compressed = found.previous, found.messages[: plan.count]
        shortened = found.messages[plan.count + plan.shorten - 1].created_at if plan.shorten else None
        if not compressed and (shortened is None or (previous and shortened == previous.shortened_through)):
            return None
        summary = previous.summary if previous else None
        if plan.summarize and compressed:
            summary = await self._summary(compressed, summary, config)
        state = CompressionState(
            strategy=config.strategy,
            summary=summary,
            covered_until=compressed[-1].id if compressed else previous.covered_until if previous else None,
            covered_through=compressed[-1].created_at if compressed else _covered_through(found, plan),
            shortened_through=shortened or (previous.shortened_through if previous else None),
            covered_messages=len(compressed) + (previous.covered_messages if previous else 0),
            covered_tokens=sum(map(self._counter.tokens, compressed)) + (previous.covered_tokens if previous else 0),
            updated_at=self._storage.clock(),
        )
        message = summary_message(session.id, state)
        return state.model_copy(update={"summary_token_count": self._counter.tokens(message) if message else 0})

    async def _summary(self, messages: Sequence[Message], previous: str | None, config: CompressionConfig) -> str:
        return await summarize(
            messages,
            summarizer=self._summarizer,
            call_limited=self._call_limited,
            seconds=self._timeout,
            previous=previous,
            prompt=config.summarization_prompt,
        )

    async def _store(
        self,
        session: Session,
        state: CompressionState,
        previous: CompressionState | None,
        compressed: Sequence[Message],
    ) -> CompressionState | None:
        """Store the state and return the one that the session has then.

        It is another one when somebody else changed it meanwhile. It is None when a summarized message was edited or
        deleted meanwhile. An edit deletes a summary that covers it, but a concurrent edit cannot see a summary that is
        not stored yet. So the summarized messages are read once more after storing.
        """

        def replace_state(current: Session) -> Patch | None:
            if current.compression_state != session.compression_state:
                return None
            return Patch(set={"compression_state": state})

        changed = await change_session(self._storage, session.id, replace_state, sleep=self._sleep, known=session)
        stored = changed.compression_state
        if (
            stored != state
            or state.summary is None
            or not compressed
            or await self._are_unchanged(session, previous, compressed)
        ):
            return stored
        await self._storage.update_session(session.id, Patch(clear=frozenset({"compression_state"})))
        return None

    async def _are_unchanged(
        self, session: Session, state: CompressionState | None, messages: Sequence[Message]
    ) -> bool:
        """Whether these messages still follow what the state covers."""
        query = MessageQuery(after_id=None if state is None else state.covered_until, roles=_COMPRESSIBLE)
        try:
            return await self._read(session, query, limit=len(messages)) == messages
        except MessageNotFoundError:
            return False

    async def _read_uncompressed(self, session: Session, rules: ContextRules) -> _Uncompressed:
        """The session's state and every message after what it covers, oldest first, without system messages."""
        state = session.compression_state
        query = MessageQuery(after_id=None if state is None else state.covered_until, roles=_COMPRESSIBLE)
        try:
            messages = await self._read(session, query)
        except MessageNotFoundError:  # the last covered message was deleted, so its extent is unknown
            state, messages = None, await self._read(session, MessageQuery(roles=_COMPRESSIBLE))
        tokens = [self._shown_tokens(message, state, rules) for message in messages]
        return _Uncompressed(previous=state, messages=messages, tokens=tokens)

    async def _read(self, session: Session, query: MessageQuery, *, limit: int | None = None) -> list[Message]:
        page = await collect(
            lambda size, cursor: self._storage.get_messages(session.id, replace(query, limit=size), cursor=cursor),
            limit,
            None,
        )
        return list(page)


def _covered_through(found: _Uncompressed, plan: CompressionPlan) -> datetime:
    """The time up to which an edit changes what a state says that shortens results and covers nothing more."""
    previous = found.previous
    if previous is not None and previous.covered_until is not None:
        return previous.covered_through
    return found.messages[plan.shorten - 1].created_at
