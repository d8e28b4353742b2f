"""`Appender` stores new messages: it gives them ids, times and token counts, and reports what was stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from session_continuity.context.counting import MessageCounter
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.results import Appended
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import SessionContinuityError, ThrottledError, TokenBudgetExceededError, UnavailableError
from session_continuity.events import BudgetExceeded, ErrorOccurred, MessageAdded
from session_continuity.ids import MessageIds
from session_continuity.manager.event_bus import EventBus
from session_continuity.manager.sliding_expiry import SlidingExpiry
from session_continuity.models import Message, NewMessage

__all__ = ["Appender"]

R = TypeVar("R")

_OUTCOME_UNKNOWN = (
    "The messages may or may not have been stored. Read the newest messages before retrying, or pass an `id` for each "
    "message: then retrying is safe."
)


class Appender:
    """Appends batches of messages for one manager. `sliding` moves the expiry of sessions that are used."""

    def __init__(
        self, storage: StorageAdapter, counter: MessageCounter, events: EventBus, sliding: SlidingExpiry
    ) -> None:
        self._storage = storage
        self._counter = counter
        self._events = events
        self._sliding = sliding
        self._ids = MessageIds(lambda: storage.clock())

    async def append(self, session_id: str, batch: Sequence[NewMessage], terms: AppendTerms) -> Appended:
        """Append the batch. Raises what `StorageAdapter.append_messages` raises."""

        async def send(messages: Sequence[Message], client_ids: set[str]) -> Appended:
            return await self._storage.append_messages(session_id, messages, client_ids=client_ids, **terms)

        appended = await self.send(session_id, batch, send)
        if not appended.repeated:
            await self.report(session_id, appended.messages)
        return appended

    async def send(
        self, session_id: str, batch: Sequence[NewMessage], store: Callable[[Sequence[Message], set[str]], Awaitable[R]]
    ) -> R:
        """The result of `store` for the messages of the batch and the ids among them that the caller chose."""
        messages = self._messages(session_id, batch)
        client_ids = {message.id for message in batch if message.id is not None}
        try:
            result = await store(messages, client_ids)
        except TokenBudgetExceededError as error:
            await self._events.emit(
                BudgetExceeded(
                    session_id=session_id, at=self._storage.clock(), requested=error.requested, limit=error.limit
                )
            )
            raise
        except (UnavailableError, ThrottledError) as error:
            if len(client_ids) < len(batch):
                error.add_note(_OUTCOME_UNKNOWN)
            raise
        await self._extend_expiry(session_id, result.slides if isinstance(result, Appended) else None)
        return result

    async def report(self, session_id: str, messages: Sequence[Message]) -> None:
        """Emit an event for each message that was stored."""
        if not self._events.listeners(MessageAdded):
            return
        for message in messages:
            await self._events.emit(
                MessageAdded(
                    session_id=session_id,
                    at=self._storage.clock(),
                    message_id=message.id,
                    role=message.role,
                    token_count=message.token_count or 0,
                )
            )

    def _messages(self, session_id: str, batch: Sequence[NewMessage]) -> list[Message]:
        """The messages of a batch. None is dated before the one ahead of it."""
        messages: list[Message] = []
        for new in batch:
            message = self._message(session_id, new)
            if messages and message.created_at < messages[-1].created_at:
                message = self._message(session_id, new.model_copy(update={"created_at": messages[-1].created_at}))
            messages.append(message)
        return messages

    def _message(self, session_id: str, new: NewMessage) -> Message:
        dated = new.created_at
        message_id, created_at = (self._ids if dated is None else MessageIds(lambda: dated)).mint()
        return Message.model_construct(  # the fields of `new` are validated already
            id=new.id or message_id,
            session_id=session_id,
            role=new.role,
            content=new.content,
            metadata=new.metadata,
            token_count=self._counter.tokens(new),
            created_at=created_at,
            updated_at=None,
        )

    async def _extend_expiry(self, session_id: str, slides: bool | None) -> None:
        """The messages are stored whatever happens here, so an error becomes an event."""
        try:
            await self._sliding.touch(session_id, slides)
        except SessionContinuityError as error:
            await self._events.emit(
                ErrorOccurred(session_id=session_id, at=self._storage.clock(), source="sliding expiry", error=error)
            )
