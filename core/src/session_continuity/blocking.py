"""The blocking face of the managers: `SessionManager` is `AsyncSessionManager` for code without an event loop. One
line a method; whatever there is to decide is decided in the async class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeVar

from pydantic import JsonValue

from session_continuity.adapter import HealthStatus, StorageAdapter
from session_continuity.compression import CompressionResult, Summarizer
from session_continuity.context import ConversationContext
from session_continuity.errors import StorageClosedError
from session_continuity.events import E, Handler
from session_continuity.manager import AsyncSessionManager, OneOrMany
from session_continuity.models import (
    CompressionConfig,
    Content,
    Message,
    MessageMetadata,
    NewMessage,
    Participant,
    ParticipantRole,
    Role,
    Session,
    SessionMetadata,
    SessionStatus,
    TokenBudget,
)
from session_continuity.paging import Page
from session_continuity.registry import Registry, default_registry
from session_continuity.runtime import Mode, Periodic, run_now
from session_continuity.storage import Storage, storage_at
from session_continuity.tokens import TokenCounter
from session_continuity.workings import Expiry

__all__ = ["SessionManager"]

T = TypeVar("T")


class _Core(AsyncSessionManager):
    """The async manager inside a blocking one."""

    modes = frozenset[Mode]({"async", "blocking"})

    def _start(self, periodic: Periodic) -> None:
        if self._adapter.mode == "async":
            super()._start(periodic)
        else:
            periodic.start_thread(lambda: run_now(self._clean_up_quietly()))

    async def _stop(self, periodic: Periodic) -> None:
        if self._adapter.mode == "async":
            await super()._stop(periodic)
        else:
            periodic.stop_thread()


class SessionManager:
    """Sessions and messages on one store, for blocking code; from any number of threads.

    The parameters and methods are those of `AsyncSessionManager`. `storage` is what `open_storage` gave, or an
    adapter in blocking mode. A summarizer and event handlers that are coroutine functions work as long as they await
    no I/O.
    """

    def __init__(
        self,
        storage: Storage | StorageAdapter,
        *,
        token_counter: TokenCounter | str | None = None,
        token_budget: TokenBudget | Mapping[str, Any] | None = None,
        compression: CompressionConfig | Mapping[str, Any] | str | None = None,
        summarizer: Summarizer | str | None = None,
        ttl: timedelta | float | None = None,
        expiry: Expiry = "fixed",
        image_token_cost: int = 0,
        cleanup_interval: timedelta | float | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._storage = storage if isinstance(storage, Storage) else Storage(storage)
        self._run = self._storage.run
        self._owns_storage = False
        self._core = _Core(
            self._storage.adapter,
            token_counter=token_counter,
            token_budget=token_budget,
            compression=compression,
            summarizer=summarizer,
            ttl=ttl,
            expiry=expiry,
            image_token_cost=image_token_cost,
            cleanup_interval=cleanup_interval,
            registry=registry,
        )

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        token_counter: TokenCounter | str | None = None,
        token_budget: TokenBudget | Mapping[str, Any] | None = None,
        compression: CompressionConfig | Mapping[str, Any] | str | None = None,
        summarizer: Summarizer | str | None = None,
        ttl: timedelta | float | None = None,
        expiry: Expiry = "fixed",
        image_token_cost: int = 0,
        cleanup_interval: timedelta | float | None = None,
        registry: Registry | None = None,
    ) -> Self:
        """A manager on the store that `url`, or SESSION_CONTINUITY_URL, names, set up; `close` or `with` closes it.

        The other parameters are those of the class. Raises ConfigError and PluginError.
        """
        storage = storage_at(url, registry or default_registry())
        try:
            manager = cls(
                storage,
                token_counter=token_counter,
                token_budget=token_budget,
                compression=compression,
                summarizer=summarizer,
                ttl=ttl,
                expiry=expiry,
                image_token_cost=image_token_cost,
                cleanup_interval=cleanup_interval,
                registry=registry,
            )
            manager._run(manager._core.start())
        except BaseException:
            storage.close()
            raise
        manager._owns_storage = True
        return manager

    def __enter__(self) -> Self:
        self._run(self._core.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the background cleanup, and close the store if this manager opened it. May be called again."""
        try:
            with suppress(StorageClosedError):
                self._run(self._core.close())
        finally:
            if self._owns_storage:
                self._storage.close()

    def health(self) -> HealthStatus:
        """Whether the store serves. Does not raise for a store that is down."""
        return self._run(self._core.health())

    def create_session(
        self,
        *,
        id: str | None = None,
        user_id: str | None = None,
        active_agent_id: str | None = None,
        metadata: SessionMetadata | Mapping[str, Any] | None = None,
        participants: Iterable[Participant | Mapping[str, Any] | str] = (),
        token_budget: TokenBudget | Mapping[str, Any] | None = None,
        compression: CompressionConfig | Mapping[str, Any] | str | None = None,
        ttl: timedelta | float | None = None,
    ) -> Session:
        """Create a session and return it; without `id` it gets a new one.

        Budget, compression and `ttl` default to the manager's. Raises SessionExistsError when `id` is taken.
        """
        return self._run(
            self._core.create_session(
                id=id,
                user_id=user_id,
                active_agent_id=active_agent_id,
                metadata=metadata,
                participants=participants,
                token_budget=token_budget,
                compression=compression,
                ttl=ttl,
            )
        )

    def get_session(self, session_id: str) -> Session:
        """The session with its totals."""
        return self._run(self._core.get_session(session_id))

    def list_sessions(
        self,
        *,
        user_id: str | None = None,
        active_agent_id: str | None = None,
        status: SessionStatus | None = None,
        tags: OneOrMany | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = 50,
        cursor: str | None = None,
    ) -> Page[Session]:
        """Sessions that meet every condition, newest first; `tags` is met by any of them.

        `limit` counts sessions that match, None reads to the end. `cursor` goes on after a page of the same
        conditions. Raises NotSupportedError when the store cannot list without a user or an agent.
        """
        return self._run(
            self._core.list_sessions(
                user_id=user_id,
                active_agent_id=active_agent_id,
                status=status,
                tags=tags,
                created_after=created_after,
                created_before=created_before,
                limit=limit,
                cursor=cursor,
            )
        )

    def update_session(self, session_id: str, *, expected_version: int | None = None, **changes: Any) -> Session:
        """Change fields of a session and return it; a field set to None is cleared, one not named stays.

        A field is replaced whole: `metadata` with all that it holds, `participants`, given as to `create_session`, too.
        With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        return self._run(self._core.update_session(session_id, expected_version=expected_version, **changes))

    def end_session(self, session_id: str) -> Session:
        """Complete a session; it takes no more messages."""
        return self._run(self._core.end_session(session_id))

    def delete_session(self, session_id: str) -> None:
        """Remove a session and everything in it."""
        return self._run(self._core.delete_session(session_id))

    def cleanup_expired_sessions(self) -> int:
        """Remove every expired session and return how many this call removed.

        A session that cannot be removed does not keep the others; the first error is raised at the end.
        """
        return self._run(self._core.cleanup_expired_sessions())

    def add_message(
        self,
        session_id: str,
        *,
        role: Role,
        content: Content,
        metadata: MessageMetadata | Mapping[str, Any] | None = None,
        token_count: int | None = None,
        id: str | None = None,
    ) -> Message:
        """Append one message and return it as stored.

        Repeating the call with the same `id` stores it once. Raises SessionClosedError, TokenBudgetExceededError and
        MessageTooLargeError; then nothing was stored. After UnavailableError or ThrottledError it may have been, and
        repeating a call without an `id` may store the message twice.
        """
        return self._run(
            self._core.add_message(
                session_id, role=role, content=content, metadata=metadata, token_count=token_count, id=id
            )
        )

    def add_messages(self, session_id: str, messages: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Append one turn, all messages or none, and return them as stored.

        A message is a NewMessage or a mapping of its fields. A turn is repeated safely when each has its `id`. Raises
        what `add_message` does, and NotSupportedError when the store does not take so many at once.
        """
        return self._run(self._core.add_messages(session_id, messages))

    def get_message(self, session_id: str, message_id: str) -> Message:
        """One message. Raises MessageNotFoundError."""
        return self._run(self._core.get_message(session_id, message_id))

    def get_messages(
        self,
        session_id: str,
        *,
        order: Literal["asc", "desc"] = "asc",
        limit: int | None = None,
        roles: Role | Iterable[Role] | None = None,
        after: datetime | str | None = None,
        before: datetime | str | None = None,
        cursor: str | None = None,
    ) -> Page[Message]:
        """Messages in conversation order, or newest first with `order="desc"`.

        `limit` counts messages that match, None reads to the end. `after` and `before` are a time or a message id and
        exclude it. `cursor` goes on after a page of the same conditions. Raises MessageNotFoundError for an id in
        `after` or `before` that the session does not have.
        """
        return self._run(
            self._core.get_messages(
                session_id, order=order, limit=limit, roles=roles, after=after, before=before, cursor=cursor
            )
        )

    def update_message(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change `role`, `content`, `metadata` or `token_count` of a message and return it; it keeps its place.

        A new content or metadata is counted anew unless `token_count` says the number, and so is what was there for
        `token_count=None`. Raises MessageNotFoundError.
        """
        return self._run(self._core.update_message(session_id, message_id, **changes))

    def delete_message(self, session_id: str, message_id: str) -> None:
        """Remove a message. Raises MessageNotFoundError."""
        return self._run(self._core.delete_message(session_id, message_id))

    def delete_all_messages(self, session_id: str) -> int:
        """Remove every message of a session, which stays, and return how many."""
        return self._run(self._core.delete_all_messages(session_id))

    def get_conversation_context(self, session_id: str) -> list[Message]:
        """The messages for a model, oldest first, within the session's token budget.

        The newest that fit, without gaps; system messages always; a tool call only together with its results. Raises
        TokenBudgetExceededError when the system messages alone do not fit, and CompressionError when messages are to
        be folded and cannot be.
        """
        return self._run(self._core.get_conversation_context(session_id))

    def get_conversation_context_with_stats(self, session_id: str) -> ConversationContext:
        """`get_conversation_context` with an account of what was kept, dropped and folded."""
        return self._run(self._core.get_conversation_context_with_stats(session_id))

    def compress_context(self, session_id: str, strategy: str | None = None) -> CompressionResult:
        """Fold old messages now, by the session's strategy or the one named. The messages stay stored.

        Raises CompressionError when no strategy is configured or known by this name, or the summarizer fails.
        """
        return self._run(self._core.compress_context(session_id, strategy))

    def add_participant(
        self,
        session_id: str,
        participant: Participant | Mapping[str, Any] | str,
        *,
        role: ParticipantRole = "user",
        metadata: Mapping[str, Any] | None = None,
    ) -> Participant:
        """Let somebody join, given as an id with `role` and `metadata`, or as a participant; return them.

        Somebody who is there already, or has left, gets the new entry in place of the old one.
        """
        return self._run(self._core.add_participant(session_id, participant, role=role, metadata=metadata))

    def remove_participant(self, session_id: str, participant_id: str) -> None:
        """Note that somebody left; their entry stays with `left_at`. Nothing happens where they had left before.
        Raises ValidationError when there is nobody of this id."""
        return self._run(self._core.remove_participant(session_id, participant_id))

    def get_participants(self, session_id: str) -> list[Participant]:
        """Everybody who is or was in the session, in the order of joining; who left has `left_at`."""
        return self._run(self._core.get_participants(session_id))

    def handoff_to_agent(
        self, session_id: str, agent_id: str, *, reason: str | None = None, context: JsonValue = None
    ) -> Session:
        """Make another agent the active one and return the session.

        `reason` and `context`, any JSON, stay readable in `session.handoffs` (the newest 20) and travel in the event.
        Raises HandoffError when the agent is the active one already, or the session is completed.
        """
        return self._run(self._core.handoff_to_agent(session_id, agent_id, reason=reason, context=context))

    def iter_sessions(
        self,
        *,
        user_id: str | None = None,
        active_agent_id: str | None = None,
        status: SessionStatus | None = None,
        tags: OneOrMany | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Iterator[Session]:
        """The sessions of `list_sessions`, one by one, read page by page as they are asked for."""
        return self._iterate(
            self._core.iter_sessions(
                user_id=user_id,
                active_agent_id=active_agent_id,
                status=status,
                tags=tags,
                created_after=created_after,
                created_before=created_before,
                limit=limit,
                cursor=cursor,
            )
        )

    def iter_messages(
        self,
        session_id: str,
        *,
        order: Literal["asc", "desc"] = "asc",
        limit: int | None = None,
        roles: Role | Iterable[Role] | None = None,
        after: datetime | str | None = None,
        before: datetime | str | None = None,
        cursor: str | None = None,
    ) -> Iterator[Message]:
        """The messages of `get_messages`, one by one, read page by page as they are asked for."""
        return self._iterate(
            self._core.iter_messages(
                session_id, order=order, limit=limit, roles=roles, after=after, before=before, cursor=cursor
            )
        )

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Call `handler`, a function or a coroutine function, after every such event, given by its name or class;
        `Event` means all. Its errors never reach the caller; they become `error` events."""
        self._core.on(event_type, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Stop calling `handler` for this event."""
        self._core.off(event_type, handler)

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while True:
                try:
                    yield self._run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            with suppress(StorageClosedError):
                self._run(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)
