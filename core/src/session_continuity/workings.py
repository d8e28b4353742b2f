"""How a manager works inside: its parts, and the steps that several of its methods share. The public face is
`manager.AsyncSessionManager`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self, TypeVar

from session_continuity import events, validation
from session_continuity.adapter import MessageQuery, Patch, SessionFilter, StorageAdapter
from session_continuity.bridge import in_mode, waiter
from session_continuity.compression import CompressionResult, Summarizer, impossible
from session_continuity.context import ContextReader
from session_continuity.errors import (
    ConfigError,
    MessageNotFoundError,
    NotSupportedError,
    SessionContinuityError,
    ThrottledError,
    TokenBudgetExceededError,
    UnavailableError,
    ValidationError,
)
from session_continuity.expiry import SlidingExpiry
from session_continuity.ids import MessageIds
from session_continuity.models import (
    CompressionConfig,
    Message,
    Model,
    NewMessage,
    Session,
    TokenBudget,
)
from session_continuity.paging import Fetch, Page
from session_continuity.registry import Registry, default_registry
from session_continuity.runtime import Mode, Periodic, sleeper
from session_continuity.tokens import TokenCounter, count_message, estimate_tokens

__all__ = ["Expiry", "Workings"]

Expiry = Literal["fixed", "sliding"]
_UNKNOWN = (
    "the messages may have been stored: read the newest before you add them again, for without ids of their own a "
    "repetition may store them twice; give each an id, and repeating the call is safe"
)

F = TypeVar("F")
M = TypeVar("M", bound=Model)


class Workings:
    """The parts of a manager."""

    modes: ClassVar[frozenset[Mode]] = frozenset({"async"})

    def __init__(
        self,
        storage: StorageAdapter,
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
        self._adapter = in_mode(storage, self.modes)
        if expiry not in ("fixed", "sliding"):
            raise ConfigError("expiry must be 'fixed' or 'sliding'")
        if expiry == "sliding" and ttl is None:
            raise ConfigError("sliding expiry needs a ttl")
        self._registry = registry or default_registry()
        self._counter = _token_counter(self._registry, token_counter)
        self._image_token_cost = _token_cost(image_token_cost)
        self._budget = _option(TokenBudget, token_budget, "token_budget")
        self._strategies = self._registry.strategies()
        self._summarizer = _summarizer(self._registry, summarizer)
        self._compression = _option(CompressionConfig, compression, "compression")
        if problem := self._cannot_compress(self._compression):
            raise ConfigError(f"compression: {problem}")
        self._ttl = validation.seconds(ttl, "ttl")
        self._cleanup_interval = validation.seconds(cleanup_interval, "cleanup_interval")
        self._ids = MessageIds(lambda: storage.clock())
        self._sleep = sleeper(storage.mode)
        self._sliding = SlidingExpiry(storage, self._sleep) if expiry == "sliding" else None
        wait = waiter(storage.mode)
        self._events = events.Events(self._registry.observers, wait)
        self._contexts = ContextReader(
            storage,
            self._count,
            self._strategies,
            self._summarizer,
            wait,
            self._note,
        )
        self._owns_storage = False
        self._is_ready = False
        self._is_closed = False
        self._periodic: Periodic | None = None
        self._lock = threading.Lock()

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
        self._is_closed = False
        await self._ready()
        self._start_cleanup()

    async def close(self) -> None:
        """Stop the background cleanup, and close the store if this manager opened it. May be called again."""
        with self._lock:
            self._is_closed = True
            periodic, self._periodic = self._periodic, None
        try:
            if periodic is not None:
                await self._stop(periodic)
        finally:
            if self._owns_storage:
                await self._adapter.close()

    async def _ready(self, **ids: str) -> StorageAdapter:
        """The store, set up at the first call, after a look at the ids that the caller gave."""
        validation.identifiers(**ids)
        if not self._is_ready:
            await self._adapter.setup()
            self._is_ready = True
            self._start_cleanup()
        return self._adapter

    def _start_cleanup(self) -> None:
        with self._lock:
            if self._cleanup_interval is not None and self._periodic is None and not self._is_closed:
                self._periodic = Periodic(self._cleanup_interval)
                self._start(self._periodic)

    def _start(self, periodic: Periodic) -> None:
        periodic.start_task(self._clean_up_quietly)

    async def _stop(self, periodic: Periodic) -> None:
        await periodic.stop_task()

    async def _clean_up_quietly(self) -> None:
        """The cleanup where nobody waits for it: its errors become events."""
        try:
            await self._remove_all_expired()
        except Exception as error:
            await self._emit(events.ErrorOccurred, "", source="cleanup", error=error)

    async def _remove_all_expired(self) -> int:
        storage = await self._ready()
        now = storage.clock()
        removed, first_error, cursor = 0, None, None
        while True:
            page = await storage.get_expired_sessions(now, limit=100, cursor=cursor)
            for session_id in page:
                try:
                    removed += await self._remove_expired(session_id, now)
                except SessionContinuityError as error:
                    first_error = first_error or error
            if (cursor := page.next_cursor) is None:
                break
        if first_error is not None:
            raise first_error
        return removed

    async def _remove_expired(self, session_id: str, now: datetime) -> bool:
        """Remove the session unless somebody extended it or created it anew since it was listed."""
        removed = await self._adapter.delete_session(session_id, expired_before=now)
        if removed:
            self._forget(session_id)
            await self._emit(events.SessionExpired, session_id)
        return removed

    def _listing(self, wanted: SessionFilter) -> Fetch[Session]:
        async def fetch(limit: int, cursor: str | None) -> Page[Session]:
            storage = await self._ready()
            if not storage.capabilities.unscoped_listing and wanted.user_id is None and wanted.active_agent_id is None:
                hint = "give a user_id or an active_agent_id"
                raise NotSupportedError("listing every session", storage.backend, hint)
            return await storage.list_sessions(wanted, limit=limit, cursor=cursor)

        return fetch

    def _reading(self, session_id: str, query: Callable[[int], MessageQuery]) -> Fetch[Message]:
        async def fetch(limit: int, cursor: str | None) -> Page[Message]:
            storage = await self._ready()
            return await storage.get_messages(session_id, query(limit), cursor=cursor)

        return fetch

    async def _append(self, session_id: str, turn: Sequence[NewMessage]) -> tuple[Message, ...]:
        storage = await self._ready(session_id=session_id)
        self._check_turn(turn)
        messages = [self._message(session_id, message) for message in turn]
        chosen = {message.id for message in turn if message.id is not None}
        try:
            appended = await storage.append_messages(session_id, messages, chosen_ids=chosen)
        except TokenBudgetExceededError as refused:
            await self._refused(session_id, refused)
            raise
        except (UnavailableError, ThrottledError) as unknown:
            if len(chosen) < len(turn):
                unknown.add_note(_UNKNOWN)
            raise
        if not appended.repeated:
            for message in appended.messages:
                await self._emit(
                    events.MessageAdded,
                    session_id,
                    message_id=message.id,
                    role=message.role,
                    token_count=message.token_count or 0,
                )
        await self._slide(session_id)
        return appended.messages

    def _cannot_compress(self, config: CompressionConfig | None) -> str | None:
        """Why this manager cannot carry a configuration out, found when it is given and not at the first fold."""
        return None if config is None else impossible(config, self._strategies, self._summarizer)

    def _check_compression(self, config: CompressionConfig | None) -> None:
        if problem := self._cannot_compress(config):
            raise ValidationError(f"compression: {problem}")

    def _check_turn(self, turn: Sequence[NewMessage]) -> None:
        if not turn:
            raise ValidationError("a turn has at least one message")
        most = self._adapter.capabilities.max_turn
        if most is not None and len(turn) > most:
            raise NotSupportedError(
                f"a turn of {len(turn)} messages", self._adapter.backend, f"it takes {most} at once; split the turn"
            )
        chosen = [message.id for message in turn if message.id is not None]
        if len(set(chosen)) < len(chosen):
            raise ValidationError("two messages of a turn have the same id")

    def _message(self, session_id: str, new: NewMessage) -> Message:
        """The message to store; what `new` holds is validated already."""
        message_id, created_at = self._ids.mint()
        return Message.model_construct(
            id=new.id or message_id,
            session_id=session_id,
            role=new.role,
            content=new.content,
            metadata=new.metadata,
            token_count=self._counted(new) if new.token_count is None else new.token_count,
            created_at=created_at,
            updated_at=None,
        )

    def _count(self, message: Message) -> int:
        return self._counted(message) if message.token_count is None else message.token_count

    def _counted(self, message: Message | NewMessage) -> int:
        return count_message(
            message.content, message.metadata, counter=self._counter, image_token_cost=self._image_token_cost
        )

    async def _recounted(self, session_id: str, message_id: str, patch: Patch) -> Patch:
        """The patch with the token count of the message as it will be."""
        current = await self._adapter.get_message(session_id, message_id)
        if current is None:
            raise MessageNotFoundError(session_id, message_id)
        count = self._counted(patch.apply(current))
        return Patch({**patch.set, "token_count": count}, patch.clear - {"token_count"})

    async def _unfold(self, session_id: str, created_at: datetime | None = None) -> None:
        """After a message of that time was edited or deleted, or one of any time: drop a summary that covers it."""
        session = await self._adapter.get_session(session_id)
        state = None if session is None else session.compression_state
        if state is not None and (created_at is None or created_at <= state.covered_through):
            await self._adapter.update_session(session_id, Patch(clear=frozenset({"compression_state"})))

    def _note(self, session: Session) -> None:
        if self._sliding:
            self._sliding.note(session)

    def _forget(self, session_id: str) -> None:
        if self._sliding:
            self._sliding.forget(session_id)

    async def _slide(self, session_id: str) -> None:
        """After an append, which stands whatever happens here: an error becomes an event."""
        if self._sliding:
            try:
                await self._sliding.touch(session_id)
            except SessionContinuityError as error:
                await self._emit(events.ErrorOccurred, session_id, source="sliding expiry", error=error)

    async def _refused(self, session_id: str, refused: TokenBudgetExceededError) -> None:
        await self._emit(events.BudgetExceeded, session_id, requested=refused.requested, limit=refused.limit)

    async def _tell_compressed(self, session_id: str, result: CompressionResult) -> None:
        if result.folded_messages:
            await self._emit(
                events.CompressionApplied,
                session_id,
                strategy=result.strategy,
                messages=result.folded_messages,
                tokens_before=result.tokens_before,
                tokens_after=result.tokens_after,
            )

    async def _emit(self, kind: type[events.Event], session_id: str, **facts: Any) -> None:
        if kind is events.ErrorOccurred or self._events.listeners(kind):
            await self._events.emit(kind(session_id=session_id, at=self._adapter.clock(), **facts))


def _option(model: type[M], given: M | Mapping[str, Any] | str | None, name: str) -> M | None:
    return None if given is None else validation.validated(model, given, at=name)


def _token_counter(registry: Registry, given: TokenCounter | str | None) -> TokenCounter:
    if given is None:
        return estimate_tokens
    if not isinstance(given, str):
        return _function(given, "token_counter")
    found: TokenCounter | None = registry.hooks.sc_token_counter(model=given)
    if found is None:
        raise ConfigError("no extension counts tokens for this model; install one, or pass a function")
    return found


def _summarizer(registry: Registry, given: Summarizer | str | None) -> Summarizer | None:
    if given is None:
        return None
    if not isinstance(given, str):
        return _function(given, "summarizer")
    found: Summarizer | None = registry.hooks.sc_summarizer(name=given)
    if found is None:
        raise ConfigError("no extension offers a summarizer of this name; install one, or pass a function")
    return found


def _function(given: F, name: str) -> F:
    if not callable(given):
        raise ConfigError(f"{name} must be a function or a name, not {type(given).__name__}")
    return given


def _token_cost(given: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise ConfigError("image_token_cost must be a whole number from 0 up")
    return given
