"""`AsyncSessionManager`: what an application works with. Each method checks its arguments and leaves the work to a part
of the manager."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self, Unpack

from session_continuity.backends.forwarding import address
from session_continuity.backends.modes import as_async, require_mode
from session_continuity.backends.portable import portable
from session_continuity.backends.registry import default_registry
from session_continuity.compression.compressor import CompressionResult, Compressor
from session_continuity.context.builder import ContextBuilder
from session_continuity.context.report import ConversationContext
from session_continuity.context.rules import ContextOptions
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Fetch, Page, check_span, collect, walk
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery
from session_continuity.contract.results import HealthStatus
from session_continuity.contract.terms import AppendTerms, Existing
from session_continuity.errors import MessageNotFoundError, SessionNotFoundError
from session_continuity.events import (
    MessageDeleted,
    MessageUpdated,
    SessionDeleted,
    SessionEnded,
    SessionUpdated,
)
from session_continuity.manager import arguments
from session_continuity.manager.appender import Appender
from session_continuity.manager.arguments import SessionQuery
from session_continuity.manager.async_conversations import ConversationMethods
from session_continuity.manager.async_listings import ListingMethods
from session_continuity.manager.async_people import PeopleMethods
from session_continuity.manager.cleanup import Cleanup
from session_continuity.manager.contexts import Contexts
from session_continuity.manager.creation import SessionBuilder, SessionFields
from session_continuity.manager.editor import Editor
from session_continuity.manager.erasure import Erasure
from session_continuity.manager.event_bus import E, EventBus, Handler
from session_continuity.manager.forking import Forking
from session_continuity.manager.lifecycle import Lifecycle
from session_continuity.manager.merging import Merging
from session_continuity.manager.options import ManagerOptions, resolve_options
from session_continuity.manager.participants import Participants
from session_continuity.manager.sliding_expiry import SlidingExpiry
from session_continuity.manager.streaming import StreamParts
from session_continuity.manager.syncing import Syncing
from session_continuity.manager.tails import Tails
from session_continuity.models import (
    CompressionConfig,
    Message,
    MessageMetadata,
    NewMessage,
    Participant,
    Role,
    Session,
    SessionMetadata,
    TokenBudget,
)
from session_continuity.runtime.callbacks import limited_calls
from session_continuity.runtime.modes import Mode, await_function, sleeper
from session_continuity.validation import validate
from session_continuity.values import Content

__all__ = ["AsyncSessionManager"]


async def _leave_as_it_is() -> None:
    """What a manager with `setup=False` does in place of the store's setup."""


class AsyncSessionManager(ConversationMethods, ListingMethods, PeopleMethods):
    """Sessions and messages on one store, for async code. `SessionManager` is the same for blocking code.

    `storage` is an adapter in async mode; it is not closed with the manager. `options`:

    - `token_counter`: a model's name that core or an extension knows, or a function from text to a number; an estimate
      that leans high by default
    - `token_budget`, `compression`: the defaults of sessions created here
    - `summarizer`: a function, or a name that an extension knows; compression by `summarization` or `hybrid` needs one
    - `ttl`: how long a session lives, in seconds or as timedelta
    - `expiry`: `fixed`, or `sliding` to count the ttl from the last message on
    - `context`: `ContextRules`, the defaults of contexts
    - `summarizer_timeout`, `summarizer_pause`: seconds that a summarizer has for its answer, and for which it is not
      called again after it failed
    - `image_token_cost`, `file_token_cost`: tokens of an image whose size is not known, and of any other file; an
      estimate by default
    - `on_invalid_text`: `refuse`, or `replace` to store U+FFFD for each lone surrogate in the text of a message
    - `cleanup_interval`: seconds between removals of expired sessions in the background, in the loop of the first call;
      none by default
    - `setup`: False leaves the store as it is: nothing is created or migrated, and a store that lacks something says so
    - `registry`: where extensions come from

    Every method raises SessionNotFoundError when the session it names does not exist, ValidationError for wrong
    arguments, and StorageError when the store fails.
    """

    modes: ClassVar[frozenset[Mode]] = frozenset({"async"})

    def __init__(self, storage: StorageAdapter, **options: Unpack[ManagerOptions]) -> None:
        settings = self._settings = resolve_options(**options)
        adapter = portable(require_mode(storage, self.modes), settings.registry.call_observer())
        self._events = EventBus(settings.registry.observers, await_function(adapter.mode))
        self._assemble(adapter, adapter.setup if settings.sets_up else _leave_as_it_is, settings.cleanup_interval)

    def _assemble(
        self,
        storage: StorageAdapter,
        set_up: Callable[[], Coroutine[Any, Any, object]],
        cleanup_interval: float | None,
    ) -> None:
        """Create the parts that work on this store."""
        self._storage, settings = storage, self._settings
        sleep = sleeper(storage.mode)
        counter = settings.counter
        self._sliding = SlidingExpiry(storage, sleep)
        self._cleanup = Cleanup(storage, self._events, self._forget)
        self._lifecycle = Lifecycle(storage, set_up, self._cleanup.run_in_background, cleanup_interval)
        self._appender = Appender(storage, counter, self._events, self._sliding)
        self._editor = Editor(storage, counter)
        self._participants = Participants(storage, self._events, sleep)
        self._sessions = SessionBuilder(storage, settings)
        self._tails = Tails(storage, self._appender, self._editor, self._events, sleep)
        self._syncing = Syncing(storage, self._appender)
        self._streams = StreamParts(self._lifecycle, storage, self._appender, self._editor, self._events)
        self._forking = Forking(storage, self._sessions, sleep)
        self._merging = Merging(storage, sleep)
        self._erasure = Erasure(storage)
        compressor = Compressor(
            storage,
            counter=counter,
            strategies=settings.strategies,
            summarizer=settings.summarizer,
            timeout=settings.summarizer_timeout,
            call_limited=limited_calls(storage.mode),
            sleep=sleep,
        )
        builder = ContextBuilder(storage, counter, self._remember)
        self._contexts = Contexts(storage, settings, builder, compressor, self._events)

    @classmethod
    def open(cls, url: str | None = None, **options: Unpack[ManagerOptions]) -> Self:
        """A manager on the store that `url`, or SESSION_CONTINUITY_URL, names; `async with` sets it up and closes it.

        `options` are those of the class. Raises ConfigError and PluginError; no I/O yet.
        """
        registry = options["registry"] = options.get("registry") or default_registry()
        manager = cls(as_async(registry.create(url, "async")), **options)
        manager._lifecycle.owns_storage = True
        return manager

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {address(self._storage)}>"

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Set the store up and start the background cleanup, as `async with` does; otherwise the first call does."""
        await self._lifecycle.start()

    async def close(self) -> None:
        """Stop the background cleanup, and close the store if this manager opened it. May be called again."""
        await self._lifecycle.close()

    async def health(self) -> HealthStatus:
        """The state of the store. Does not raise when the store is down."""
        return await self._storage.health()

    def _view(self, storage: StorageAdapter) -> Self:
        view = copy(self)
        view._assemble(storage, self._lifecycle.ready, None)
        return view

    # Sessions

    async def create_session(
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
        storage = await self._lifecycle.ready()
        fields: SessionFields = {
            "user_id": user_id,
            "active_agent_id": active_agent_id,
            "metadata": metadata,
            "participants": participants,
            "token_budget": token_budget,
            "compression": compression,
            "ttl": ttl,
            "created_at": created_at,
        }
        session = await storage.create_session(self._sessions.build(id, fields))
        await self._report_created(session)
        return session

    async def get_session(self, session_id: str) -> Session:
        """The session with its totals."""
        return await self._existing(session_id)

    def iter_sessions(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        after_id: str | None = None,
        on_unreadable: Callable[[str], object] | None = None,
        **query: Unpack[SessionQuery],
    ) -> AsyncGenerator[Session, None]:
        """The sessions of `list_sessions`, one by one. Pages are read when they are needed.

        Sessions that cannot be read are left out; `on_unreadable` is called with the id of each.
        """
        check_span(limit, cursor)
        return walk(self._listing(cursor, after_id, query), limit, cursor, step=50, on_unreadable=on_unreadable)

    async def update_session(self, session_id: str, *, expected_version: int | None = None, **changes: Any) -> Session:
        """Change fields of a session and return it. None clears a field. Fields that are not named stay.

        A field is replaced as a whole, `metadata` and `participants` too; participants are given as to
        `create_session`. With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        storage = await self._lifecycle.ready(session_id=session_id)
        patch = self._sessions.patch(changes)
        expected = arguments.check_version(expected_version, "expected_version")
        session = await storage.update_session(session_id, patch, expected_version=expected)
        self._remember(session)
        await self._events.emit(
            SessionUpdated(
                session_id=session_id, at=storage.clock(), fields=frozenset(changes), version=session.version
            )
        )
        return session

    async def end_session(self, session_id: str) -> Session:
        """Complete a session, so that it takes no more messages, and return it."""
        storage = await self._lifecycle.ready(session_id=session_id)
        session = await storage.update_session(session_id, Patch(set={"status": "completed"}))
        await self._events.emit(SessionEnded(session_id=session_id, at=storage.clock()))
        return session

    async def delete_session(self, session_id: str, *, expected_version: int | None = None) -> None:
        """Remove a session and everything in it.

        With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        storage = await self._lifecycle.ready(session_id=session_id)
        expected = arguments.check_version(expected_version, "expected_version")
        if not await storage.delete_session(session_id, expected_version=expected):
            raise SessionNotFoundError(session_id)
        self._forget(session_id)
        await self._events.emit(SessionDeleted(session_id=session_id, at=storage.clock()))

    async def cleanup_expired_sessions(self) -> int:
        """Remove every expired session and return how many this call removed.

        If a session cannot be removed, the others still are. The first error is raised at the end.
        """
        await self._lifecycle.ready()
        return await self._cleanup.run()

    # Messages

    async def add_message(
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
        fields: dict[str, Any] = {
            "role": role,
            "content": content,
            "metadata": {} if metadata is None else metadata,
            "token_count": token_count,
            "id": id,
            "created_at": created_at,
        }
        return (await self._append(session_id, [validate(NewMessage, self._settings.accepted(fields))], {}))[0]

    async def add_messages(
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
        terms = self._sessions.terms(session_id, update, create)
        if expected_version is not None:
            terms["expected_version"] = arguments.check_version(expected_version, "expected_version")
        if expected_last_id is not None:
            terms["expected_last_id"] = expected_last_id
        if existing != "refuse":
            terms["existing"] = existing
        return list(await self._append(session_id, arguments.new_messages(messages, self._settings.accepted), terms))

    async def get_message(self, session_id: str, message_id: str) -> Message:
        """One message. Raises MessageNotFoundError."""
        storage = await self._lifecycle.ready(session_id=session_id, message_id=message_id)
        message = await storage.get_message(session_id, message_id)
        if message is None:
            raise MessageNotFoundError(session_id, message_id)
        return message

    async def get_messages(
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
        arguments.check_ids(session_id=session_id)
        query = arguments.message_query(order, roles, after, before)
        return await collect(self._reading(session_id, query), limit, cursor)

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
    ) -> AsyncGenerator[Message, None]:
        """The messages of `get_messages`, one by one. Pages are read when they are needed.

        Messages that cannot be read are left out; `on_unreadable` is called with the id of each.
        """
        arguments.check_ids(session_id=session_id)
        query = arguments.message_query(order, roles, after, before)
        check_span(limit, cursor)
        return walk(self._reading(session_id, query), limit, cursor, step=100, on_unreadable=on_unreadable)

    async def update_message(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change `role`, `content`, `metadata` or `token_count` of a message and return it. It keeps its place.

        New content or metadata is counted again unless `token_count` is given. `token_count=None` counts the message
        again. Raises MessageNotFoundError.
        """
        storage = await self._lifecycle.ready(session_id=session_id, message_id=message_id)
        message = await self._editor.update(session_id, message_id, self._settings.accepted(changes))
        await self._events.emit(
            MessageUpdated(session_id=session_id, at=storage.clock(), message_id=message_id, fields=frozenset(changes))
        )
        return message

    async def delete_message(self, session_id: str, message_id: str) -> None:
        """Remove a message. Raises MessageNotFoundError."""
        storage = await self._lifecycle.ready(session_id=session_id, message_id=message_id)
        await self._editor.delete(session_id, message_id)
        await self._events.emit(MessageDeleted(session_id=session_id, at=storage.clock(), message_id=message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        """Remove every message of a session and return how many. The session stays."""
        storage = await self._lifecycle.ready(session_id=session_id)
        count = await self._editor.delete_all(session_id)
        await self._events.emit(MessageDeleted(session_id=session_id, at=storage.clock(), message_id=None))
        return count

    # Context

    async def get_conversation_context(self, session_id: str, **rules: Unpack[ContextOptions]) -> list[Message]:
        """The messages for a model, oldest first, within the session's token budget.

        These are the last turns that fit, and the system messages. Each call of a tool has one result behind it.
        `rules` are those of `ContextRules` for this call. The manager's `context` is the default.

        Raises TokenBudgetExceededError when the system messages and the last turn do not fit.
        """
        return (await self.get_conversation_context_with_stats(session_id, **rules)).messages

    async def get_conversation_context_with_stats(
        self, session_id: str, **rules: Unpack[ContextOptions]
    ) -> ConversationContext:
        """`get_conversation_context` with a report of what was kept, changed, left out and compressed, and why."""
        await self._lifecycle.ready(session_id=session_id)
        return await self._contexts.build(session_id, rules)

    async def compress_context(self, session_id: str, strategy: str | None = None) -> CompressionResult:
        """Compress old messages now, by the session's strategy or the one named. The messages stay stored.

        Raises CompressionError when no strategy is configured or known by this name, or when the summarizer fails.
        """
        return await self._contexts.compress(await self.get_session(session_id), strategy)

    # Events

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Call `handler`, a function or a coroutine function, after every event of this type.

        `event_type` is the name or the class of an event. `Event` means all events. Errors of a handler become `error`
        events and do not reach the caller of a method.
        """
        self._events.on(event_type, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Stop calling `handler` for events of this type."""
        self._events.off(event_type, handler)

    # Shared steps

    async def _append(self, session_id: str, batch: list[NewMessage], terms: AppendTerms) -> tuple[Message, ...]:
        storage = await self._lifecycle.ready(session_id=session_id)
        appended = await self._appender.append(session_id, batch, terms)
        create, patch = terms.get("create"), terms.get("patch")
        if appended.created and create is not None:
            await self._report_created(create)
        elif patch is not None and not appended.repeated:
            fields = frozenset({*patch.set, *patch.clear})
            await self._events.emit(
                SessionUpdated(session_id=session_id, at=storage.clock(), fields=fields, version=None)
            )
        return appended.messages

    def _reading(self, session_id: str, query: Callable[[int], MessageQuery]) -> Fetch[Message]:
        async def fetch(limit: int, cursor: str | None) -> Page[Message]:
            storage = await self._lifecycle.ready()
            return await storage.get_messages(session_id, query(limit), cursor=cursor)

        return fetch
