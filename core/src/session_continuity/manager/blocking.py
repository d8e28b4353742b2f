"""The blocking face of the managers: `SessionManager` is `AsyncSessionManager` for code without an event loop. One
line a method; whatever there is to decide is decided in the async class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeVar, Unpack

from pydantic import JsonValue

from session_continuity.backends.forwarding import address
from session_continuity.backends.registry import default_registry
from session_continuity.backends.storage import Storage, storage_at
from session_continuity.compression.compressor import CompressionResult
from session_continuity.context.report import ConversationContext
from session_continuity.context.rules import ContextOptions
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Page
from session_continuity.contract.results import HealthStatus
from session_continuity.contract.terms import Existing
from session_continuity.errors import StorageClosedError
from session_continuity.manager.arguments import SessionQuery
from session_continuity.manager.async_manager import AsyncSessionManager
from session_continuity.manager.blocking_conversations import BlockingConversationMethods
from session_continuity.manager.blocking_listings import BlockingListingMethods
from session_continuity.manager.creation import SessionFields
from session_continuity.manager.event_bus import E, Handler
from session_continuity.manager.options import ManagerOptions
from session_continuity.models import (
    CompressionConfig,
    Message,
    MessageMetadata,
    NewMessage,
    Participant,
    ParticipantRole,
    Role,
    Session,
    SessionMetadata,
    TokenBudget,
)
from session_continuity.runtime.modes import Mode
from session_continuity.values import Content

__all__ = ["SessionManager"]

T = TypeVar("T")


class _AnyModeManager(AsyncSessionManager):
    """The async manager inside a blocking one. `Storage` runs its coroutines, in either mode."""

    modes = frozenset[Mode]({"async", "blocking"})


class SessionManager(BlockingConversationMethods, BlockingListingMethods):
    """Sessions and messages on one store, for blocking code; from any number of threads.

    `storage` is what `open_storage` returned, or an adapter in blocking mode. Options and methods are those of
    `AsyncSessionManager`. A summarizer and event handlers that are coroutine functions work as long as they await no
    I/O.
    """

    def __init__(self, storage: Storage | StorageAdapter, **options: Unpack[ManagerOptions]) -> None:
        registry = options["registry"] = options.get("registry") or default_registry()
        if not isinstance(storage, Storage):
            storage = Storage(storage, observe=registry.call_observer())
        self._storage = storage
        self._run = storage.run
        self._owns_storage = False
        self._manager: AsyncSessionManager = _AnyModeManager(storage.adapter, **options)

    @classmethod
    def open(cls, url: str | None = None, **options: Unpack[ManagerOptions]) -> Self:
        """A manager on the store that `url`, or SESSION_CONTINUITY_URL, names, set up; `close` or `with` closes it.

        `options` are those of the class. Raises ConfigError and PluginError.
        """
        registry = options["registry"] = options.get("registry") or default_registry()
        storage = storage_at(url, registry)
        try:
            manager = cls(storage, **options)
            manager._run(manager._manager.start())
        except BaseException:
            storage.close()
            raise
        manager._owns_storage = True
        return manager

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {address(self._storage.adapter)}>"

    def __enter__(self) -> Self:
        self._run(self._manager.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the background cleanup, and close the store if this manager opened it. May be called again."""
        try:
            with suppress(StorageClosedError):
                self._run(self._manager.close())
        finally:
            if self._owns_storage:
                self._storage.close()

    def health(self) -> HealthStatus:
        """The state of the store. Does not raise when the store is down."""
        return self._run(self._manager.health())

    def for_user(self, user_id: str) -> Self:
        """A manager of this user's sessions only, on the same connections, with the same options and event handlers.

        For it, the sessions of other users do not exist. What it creates belongs to the user. Where the store declares
        `owner_guard`, that costs nothing. Elsewhere most calls read the session first. It ends with this manager, and
        closing it closes nothing.
        """
        return self._view(self._manager.for_user(user_id))

    def in_namespace(self, name: str) -> Self:
        """A manager of another namespace, on the same connections, with the same options and event handlers.

        It ends with this manager, and closing it closes nothing. Raises NotSupportedError where the store does not
        declare `namespace_views`.
        """
        return self._view(self._manager.in_namespace(name))

    def _view(self, manager: AsyncSessionManager) -> Self:
        view = copy(self)
        view._manager = manager
        view._owns_storage = False
        return view

    def create_session(
        self,
        *,
        id: str | None = None,
        user_id: str | None = None,
        active_agent_id: str | None = None,
        metadata: SessionMetadata | Mapping[str, Any] | None = None,
        participants: Iterable[Participant | Mapping[str, Any] | str] | None = (),
        token_budget: TokenBudget | Mapping[str, Any] | int | None = None,
        compression: CompressionConfig | Mapping[str, Any] | str | None = None,
        ttl: timedelta | float | None = None,
        created_at: datetime | None = None,
    ) -> Session:
        """Create a session and return it. Without `id`, a new id is minted.

        Budget, compression and `ttl` default to the manager's. A session that is imported keeps its own `created_at`.
        Raises SessionExistsError when `id` is taken.
        """
        return self._run(
            self._manager.create_session(
                id=id,
                user_id=user_id,
                active_agent_id=active_agent_id,
                metadata=metadata,
                participants=participants,
                token_budget=token_budget,
                compression=compression,
                ttl=ttl,
                created_at=created_at,
            )
        )

    def get_session(self, session_id: str) -> Session:
        """The session with its totals."""
        return self._run(self._manager.get_session(session_id))

    def update_session(self, session_id: str, *, expected_version: int | None = None, **changes: Any) -> Session:
        """Change fields of a session and return it. None clears a field. Fields that are not named stay.

        A field is replaced as a whole, `metadata` and `participants` too; participants are given as to
        `create_session`. With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        return self._run(self._manager.update_session(session_id, expected_version=expected_version, **changes))

    def end_session(self, session_id: str) -> Session:
        """Complete a session, so that it takes no more messages, and return it."""
        return self._run(self._manager.end_session(session_id))

    def delete_session(self, session_id: str, *, expected_version: int | None = None) -> None:
        """Remove a session and everything in it.

        With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        return self._run(self._manager.delete_session(session_id, expected_version=expected_version))

    def cleanup_expired_sessions(self) -> int:
        """Remove every expired session and return how many this call removed.

        If a session cannot be removed, the others still are. The first error is raised at the end.
        """
        return self._run(self._manager.cleanup_expired_sessions())

    def add_message(
        self,
        session_id: str,
        role: Role,
        content: Content,
        *,
        metadata: MessageMetadata | Mapping[str, Any] | None = None,
        token_count: int | None = None,
        id: str | None = None,
        created_at: datetime | None = None,
    ) -> Message:
        """Append one message and return it as stored.

        Repeating the call with the same `id` stores the message once. Raises SessionClosedError,
        TokenBudgetExceededError and MessageTooLargeError: nothing was stored. After UnavailableError or ThrottledError
        the message may have been stored, and repeating a call without an `id` may store it twice. A message that is
        imported keeps its own `created_at`, unless the last one is later.
        """
        return self._run(
            self._manager.add_message(
                session_id,
                role=role,
                content=content,
                metadata=metadata,
                token_count=token_count,
                id=id,
                created_at=created_at,
            )
        )

    def add_messages(
        self,
        session_id: str,
        messages: Iterable[NewMessage | Mapping[str, Any]],
        *,
        update: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        expected_last_id: str | None = None,
        existing: Existing = "refuse",
        create: SessionFields | None = None,
    ) -> list[Message]:
        """Append a batch of messages, all or none, and return them as stored.

        A message is a NewMessage or a mapping of its fields. Repeating a batch is safe when each message has an `id`.
        In the same step:

        - `update`: change fields of the session, as `update_session` does
        - `expected_version`: raise ConcurrencyError when the session is at another version
        - `expected_last_id`: raise ConversationChangedError when the conversation does not end with this message; an
          empty string expects no message
        - `existing="skip"`: leave out the messages whose `id` is stored already
        - `create`: create the session if there is none, with the fields of `create_session` without its `id`

        Raises what `add_message` raises, and NotSupportedError when the store does not take so many at once.
        """
        return self._run(
            self._manager.add_messages(
                session_id,
                messages,
                update=update,
                expected_version=expected_version,
                expected_last_id=expected_last_id,
                existing=existing,
                create=create,
            )
        )

    def get_message(self, session_id: str, message_id: str) -> Message:
        """One message. Raises MessageNotFoundError."""
        return self._run(self._manager.get_message(session_id, message_id))

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

        `limit` counts messages that match; None reads to the end. `after` and `before` are a time or a message id and
        exclude it. `cursor` continues after a page of the same conditions. Raises MessageNotFoundError for an id in
        `after` or `before` that the session does not have.
        """
        return self._run(
            self._manager.get_messages(
                session_id, order=order, limit=limit, roles=roles, after=after, before=before, cursor=cursor
            )
        )

    def update_message(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change `role`, `content`, `metadata` or `token_count` of a message and return it. It keeps its place.

        New content or metadata is counted again unless `token_count` is given. `token_count=None` counts the message
        again. Raises MessageNotFoundError.
        """
        return self._run(self._manager.update_message(session_id, message_id, **changes))

    def delete_message(self, session_id: str, message_id: str) -> None:
        """Remove a message. Raises MessageNotFoundError."""
        return self._run(self._manager.delete_message(session_id, message_id))

    def delete_all_messages(self, session_id: str) -> int:
        """Remove every message of a session and return how many. The session stays."""
        return self._run(self._manager.delete_all_messages(session_id))

    def get_conversation_context(self, session_id: str, **rules: Unpack[ContextOptions]) -> list[Message]:
        """The messages for a model, oldest first, within the session's token budget.

        These are the last turns that fit, and the system messages. Each call of a tool has one result behind it.
        `rules` are those of `ContextRules` for this call. The manager's `context` is the default.

        Raises TokenBudgetExceededError when the system messages and the last turn do not fit.
        """
        return self._run(self._manager.get_conversation_context(session_id, **rules))

    def get_conversation_context_with_stats(
        self, session_id: str, **rules: Unpack[ContextOptions]
    ) -> ConversationContext:
        """`get_conversation_context` with a report of what was kept, changed, left out and compressed, and why."""
        return self._run(self._manager.get_conversation_context_with_stats(session_id, **rules))

    def compress_context(self, session_id: str, strategy: str | None = None) -> CompressionResult:
        """Compress old messages now, by the session's strategy or the one named. The messages stay stored.

        Raises CompressionError when no strategy is configured or known by this name, or when the summarizer fails.
        """
        return self._run(self._manager.compress_context(session_id, strategy))

    def add_participant(
        self,
        session_id: str,
        participant: Participant | Mapping[str, Any] | str,
        *,
        role: ParticipantRole = "user",
        metadata: Mapping[str, Any] | None = None,
    ) -> Participant:
        """Add a participant and return them. Pass an id with `role` and `metadata`, or a participant.

        An entry with the same id is replaced, also that of a participant who left.
        """
        return self._run(self._manager.add_participant(session_id, participant, role=role, metadata=metadata))

    def remove_participant(self, session_id: str, participant_id: str) -> None:
        """Set `left_at` of a participant, unless they had left before. The entry stays.

        Raises ValidationError when no participant has this id.
        """
        return self._run(self._manager.remove_participant(session_id, participant_id))

    def get_participants(self, session_id: str) -> list[Participant]:
        """All present and former participants, in the order of joining. Those who left have a `left_at`."""
        return self._run(self._manager.get_participants(session_id))

    def handoff_to_agent(
        self, session_id: str, agent_id: str, *, reason: str | None = None, context: JsonValue = None
    ) -> Session:
        """Make another agent the active one and return the session.

        `reason` and `context`, any JSON, are stored in `session.handoffs` (the newest 20) and are part of the event.
        Raises HandoffError when the agent is the active one already, or when the session is completed.
        """
        return self._run(self._manager.handoff_to_agent(session_id, agent_id, reason=reason, context=context))

    def iter_sessions(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        after_id: str | None = None,
        on_unreadable: Callable[[str], object] | None = None,
        **query: Unpack[SessionQuery],
    ) -> Iterator[Session]:
        """The sessions of `list_sessions`, one by one. Pages are read when they are needed.

        Sessions that cannot be read are left out; `on_unreadable` is called with the id of each.
        """
        return self._iterate(
            self._manager.iter_sessions(
                limit=limit, cursor=cursor, after_id=after_id, on_unreadable=on_unreadable, **query
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
        on_unreadable: Callable[[str], object] | None = None,
    ) -> Iterator[Message]:
        """The messages of `get_messages`, one by one. Pages are read when they are needed.

        Messages that cannot be read are left out; `on_unreadable` is called with the id of each.
        """
        return self._iterate(
            self._manager.iter_messages(
                session_id,
                order=order,
                limit=limit,
                roles=roles,
                after=after,
                before=before,
                cursor=cursor,
                on_unreadable=on_unreadable,
            )
        )

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Call `handler`, a function or a coroutine function, after every event of this type.

        `event_type` is the name or the class of an event. `Event` means all events. Errors of a handler become `error`
        events and do not reach the caller of a method.
        """
        self._manager.on(event_type, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Stop calling `handler` for events of this type."""
        self._manager.off(event_type, handler)

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
