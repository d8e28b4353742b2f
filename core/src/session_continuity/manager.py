"""`AsyncSessionManager`: what an application works with. Orchestration only: every decision is a pure function
elsewhere, every write one call of the storage contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import JsonValue

from session_continuity import events, validation
from session_continuity.adapter import HealthStatus, Patch
from session_continuity.bridge import for_async
from session_continuity.compression import CompressionResult, Summarizer
from session_continuity.concurrency import change_session
from session_continuity.context import ConversationContext
from session_continuity.errors import (
    CompressionError,
    MessageNotFoundError,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
)
from session_continuity.events import E, Handler
from session_continuity.ids import minted_at, new_session_id
from session_continuity.models import (
    CompressionConfig,
    Content,
    Handoff,
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
from session_continuity.paging import Page, check_span, collect, walk
from session_continuity.people import handed_over, new_participant, new_participants, parted
from session_continuity.registry import Registry, default_registry
from session_continuity.tokens import TokenCounter
from session_continuity.workings import Expiry, Workings

__all__ = ["AsyncSessionManager"]

OneOrMany = str | Iterable[str]

_COUNTED = frozenset(["content", "metadata", "token_count"])


class AsyncSessionManager(Workings):
    """Sessions and messages on one store, for async code. `SessionManager` is the same for blocking code.

    `token_counter`: a function from text to a number, or a model's name that an extension knows; a quarter of the
    bytes by default. `token_budget` and `compression` are the defaults of sessions created here. `summarizer`: a
    function, or a name that an extension knows; compression by `summarization` or `hybrid` needs one. `ttl`: how long a
    session lives, in seconds or as timedelta; with `expiry="sliding"`, from its last message on. `image_token_cost`:
    tokens of one image block. `cleanup_interval`: seconds between removals of expired sessions in the background, in
    the loop of the first call; none by default. `registry`: where extensions come from.

    Every method raises SessionNotFoundError where the session it names does not exist, ValidationError for arguments
    that are not what it takes, and StorageError where the store fails. A storage that was handed in is not closed.
    """

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
        """A manager on the store that `url`, or SESSION_CONTINUITY_URL, names; `async with` sets it up and closes it.

        The other parameters are those of the class. Raises ConfigError and PluginError; no I/O yet.
        """
        registry = registry or default_registry()
        manager = cls(
            for_async(registry.create(url, "async")),
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
        manager._owns_storage = True
        return manager

    async def health(self) -> HealthStatus:
        """Whether the store serves. Does not raise for a store that is down."""
        return await self._adapter.health()

    # Sessions

    async def create_session(
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
        storage = await self._ready()
        now = storage.clock()
        seconds = validation.seconds(ttl, "ttl") or self._ttl
        fields: dict[str, Any] = {
            "id": new_session_id(now) if id is None else id,
            "user_id": user_id,
            "active_agent_id": active_agent_id,
            "metadata": {} if metadata is None else metadata,
            "participants": new_participants(participants, now),
            "token_budget": self._budget if token_budget is None else token_budget,
            "compression": self._compression if compression is None else compression,
            "created_at": now,
            "last_activity_at": now,
            "expires_at": None if seconds is None else now + timedelta(seconds=seconds),
            "sliding_ttl": seconds if self._sliding else None,
        }
        new = validation.validated(Session, fields)
        self._check_compression(new.compression)
        session = await storage.create_session(new)
        self._note(session)
        await self._emit(events.SessionCreated, session.id)
        return session

    async def get_session(self, session_id: str) -> Session:
        """The session with its totals."""
        session = await (await self._ready(session_id=session_id)).get_session(session_id)
        if session is None:
            raise SessionNotFoundError(session_id)
        self._note(session)
        return session

    async def list_sessions(
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
        wanted = validation.session_filter(
            user_id=user_id,
            active_agent_id=active_agent_id,
            status=status,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
        )
        return await collect(self._listing(wanted), limit, cursor)

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
    ) -> AsyncGenerator[Session, None]:
        """The sessions of `list_sessions`, one by one, read page by page as they are asked for."""
        wanted = validation.session_filter(
            user_id=user_id,
            active_agent_id=active_agent_id,
            status=status,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
        )
        check_span(limit, cursor)
        return walk(self._listing(wanted), limit, cursor, step=50)

    async def update_session(self, session_id: str, *, expected_version: int | None = None, **changes: Any) -> Session:
        """Change fields of a session and return it; a field set to None is cleared, one not named stays.

        A field is replaced whole: `metadata` with all that it holds, `participants`, given as to `create_session`, too.
        With `expected_version`, raises ConcurrencyError when the session is at another version.
        """
        storage = await self._ready(session_id=session_id)
        if changes.get("participants") is not None:
            changes["participants"] = new_participants(changes["participants"], storage.clock())
        patch = validation.patch_for(Session, changes)
        self._check_compression(patch.set.get("compression"))
        expected = validation.version(expected_version, "expected_version")
        session = await storage.update_session(session_id, patch, expected_version=expected)
        self._note(session)
        await self._emit(events.SessionUpdated, session_id, fields=frozenset(changes), version=session.version)
        return session

    async def end_session(self, session_id: str) -> Session:
        """Complete a session; it takes no more messages."""
        storage = await self._ready(session_id=session_id)
        session = await storage.update_session(session_id, Patch(set={"status": "completed"}))
        await self._emit(events.SessionEnded, session_id)
        return session

    async def delete_session(self, session_id: str) -> None:
        """Remove a session and everything in it."""
        storage = await self._ready(session_id=session_id)
        if not await storage.delete_session(session_id):
            raise SessionNotFoundError(session_id)
        self._forget(session_id)
        await self._emit(events.SessionDeleted, session_id)

    async def cleanup_expired_sessions(self) -> int:
        """Remove every expired session and return how many this call removed.

        A session that cannot be removed does not keep the others; the first error is raised at the end.
        """
        return await self._remove_all_expired()

    # Messages

    async def add_message(
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
        fields: dict[str, Any] = {
            "role": role,
            "content": content,
            "metadata": {} if metadata is None else metadata,
            "token_count": token_count,
            "id": id,
        }
        return (await self._append(session_id, [validation.validated(NewMessage, fields)]))[0]

    async def add_messages(self, session_id: str, messages: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Append one turn, all messages or none, and return them as stored.

        A message is a NewMessage or a mapping of its fields. A turn is repeated safely when each has its `id`. Raises
        what `add_message` does, and NotSupportedError when the store does not take so many at once.
        """
        return list(await self._append(session_id, validation.turn(messages)))

    async def get_message(self, session_id: str, message_id: str) -> Message:
        """One message. Raises MessageNotFoundError."""
        storage = await self._ready(session_id=session_id, message_id=message_id)
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

        `limit` counts messages that match, None reads to the end. `after` and `before` are a time or a message id and
        exclude it. `cursor` goes on after a page of the same conditions. Raises MessageNotFoundError for an id in
        `after` or `before` that the session does not have.
        """
        validation.identifiers(session_id=session_id)
        query = validation.message_query(order, roles, after, before)
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
    ) -> AsyncGenerator[Message, None]:
        """The messages of `get_messages`, one by one, read page by page as they are asked for."""
        validation.identifiers(session_id=session_id)
        query = validation.message_query(order, roles, after, before)
        check_span(limit, cursor)
        return walk(self._reading(session_id, query), limit, cursor, step=100)

    async def update_message(self, session_id: str, message_id: str, **changes: Any) -> Message:
        """Change `role`, `content`, `metadata` or `token_count` of a message and return it; it keeps its place.

        A new content or metadata is counted anew unless `token_count` says the number, and so is what was there for
        `token_count=None`. Raises MessageNotFoundError.
        """
        storage = await self._ready(session_id=session_id, message_id=message_id)
        patch = validation.patch_for(NewMessage, changes)
        if changes.get("token_count") is None and not changes.keys().isdisjoint(_COUNTED):
            patch = await self._recounted(session_id, message_id, patch)
        stamped = Patch({**patch.set, "updated_at": storage.clock()}, patch.clear)
        message = await storage.update_message(session_id, message_id, stamped)
        if message.role != "system" or "role" in changes:  # no summary covers system messages
            await self._unfold(session_id, message.created_at)
        await self._emit(events.MessageUpdated, session_id, message_id=message_id, fields=frozenset(changes))
        return message

    async def delete_message(self, session_id: str, message_id: str) -> None:
        """Remove a message. Raises MessageNotFoundError."""
        storage = await self._ready(session_id=session_id, message_id=message_id)
        message = await storage.get_message(session_id, message_id)
        deleted = message is not None and await storage.delete_message(session_id, message_id)
        if message is None or message.role != "system":
            await self._unfold(session_id, message.created_at if message else minted_at(message_id))
        if not deleted:
            raise MessageNotFoundError(session_id, message_id)
        await self._emit(events.MessageDeleted, session_id, message_id=message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        """Remove every message of a session, which stays, and return how many."""
        storage = await self._ready(session_id=session_id)
        count = await storage.delete_all_messages(session_id)
        await self._unfold(session_id)
        await self._emit(events.MessageDeleted, session_id, message_id=None)
        return count

    # Context

    async def get_conversation_context(self, session_id: str) -> list[Message]:
        """The messages for a model, oldest first, within the session's token budget.

        The newest that fit, without gaps; system messages always; a tool call only together with its results. Raises
        TokenBudgetExceededError when the system messages alone do not fit, and CompressionError when messages are to
        be folded and cannot be.
        """
        return (await self.get_conversation_context_with_stats(session_id)).messages

    async def get_conversation_context_with_stats(self, session_id: str) -> ConversationContext:
        """`get_conversation_context` with an account of what was kept, dropped and folded."""
        await self._ready(session_id=session_id)
        try:
            context, folded = await self._contexts.read(session_id, self._budget, self._compression)
        except TokenBudgetExceededError as refused:
            await self._refused(session_id, refused)
            raise
        if folded is not None:
            await self._tell_compressed(session_id, folded)
        return context

    async def compress_context(self, session_id: str, strategy: str | None = None) -> CompressionResult:
        """Fold old messages now, by the session's strategy or the one named. The messages stay stored.

        Raises CompressionError when no strategy is configured or known by this name, or the summarizer fails.
        """
        session = await self.get_session(session_id)
        config = session.compression or self._compression
        if strategy is not None:
            config = validation.validated(CompressionConfig, {**dict(config or ()), "strategy": strategy})
        if config is None:
            raise CompressionError("no compression is configured; name a strategy, for example 'sliding_window'")
        result = await self._contexts.compress(session, session.token_budget or self._budget, config)
        await self._tell_compressed(session_id, result)
        return result

    # Participants and agents

    async def add_participant(
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
        storage = await self._ready(session_id=session_id)
        given: Participant | Mapping[str, Any] | str = participant
        if isinstance(participant, str):
            given = {"id": participant, "role": role, "metadata": dict[str, Any]() if metadata is None else metadata}
        elif role != "user" or metadata is not None:
            raise ValidationError("role and metadata go with an id; a participant has its own")
        joining = new_participant(given, storage.clock())

        def join(session: Session) -> Patch:
            others = [known for known in session.participants if known.id != joining.id]
            return Patch(set={"participants": [*others, joining]})

        await change_session(storage, session_id, join, sleep=self._sleep)
        await self._emit(events.ParticipantJoined, session_id, participant_id=joining.id)
        return joining

    async def remove_participant(self, session_id: str, participant_id: str) -> None:
        """Note that somebody left; their entry stays with `left_at`. Nothing happens where they had left before.
        Raises ValidationError when there is nobody of this id."""
        storage = await self._ready(session_id=session_id, participant_id=participant_id)
        now = storage.clock()
        has_left = False

        def leave(session: Session) -> Patch | None:
            nonlocal has_left
            patch = parted(session, participant_id, now)
            has_left = patch is not None
            return patch

        await change_session(storage, session_id, leave, sleep=self._sleep)
        if has_left:
            await self._emit(events.ParticipantLeft, session_id, participant_id=participant_id)

    async def get_participants(self, session_id: str) -> list[Participant]:
        """Everybody who is or was in the session, in the order of joining; who left has `left_at`."""
        return (await self.get_session(session_id)).participants

    async def handoff_to_agent(
        self, session_id: str, agent_id: str, *, reason: str | None = None, context: JsonValue = None
    ) -> Session:
        """Make another agent the active one and return the session.

        `reason` and `context`, any JSON, stay readable in `session.handoffs` (the newest 20) and travel in the event.
        Raises HandoffError when the agent is the active one already, or the session is completed.
        """
        storage = await self._ready(session_id=session_id, agent_id=agent_id)
        fields = {"to_agent_id": agent_id, "reason": reason, "context": context, "at": storage.clock()}
        handoff = validation.validated(Handoff, fields)
        session = await change_session(
            storage, session_id, lambda session: handed_over(session, handoff), sleep=self._sleep
        )
        done = session.handoffs[-1]
        await self._emit(
            events.AgentHandoff,
            session_id,
            from_agent_id=done.from_agent_id,
            to_agent_id=done.to_agent_id,
            reason=done.reason,
            context=done.context,
        )
        return session

    # Events

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Call `handler`, a function or a coroutine function, after every such event, given by its name or class;
        `Event` means all. Its errors never reach the caller; they become `error` events."""
        self._events.on(event_type, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Stop calling `handler` for this event."""
        self._events.off(event_type, handler)
