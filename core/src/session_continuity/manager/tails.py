"""`Tails` replaces and removes the end of a conversation, and deletes a summary of what is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.queries import MessageQuery
from session_continuity.contract.results import Replaced
from session_continuity.errors import ConversationChangedError, MessageNotFoundError, ValidationError
from session_continuity.events import MessageDeleted
from session_continuity.manager.appender import Appender
from session_continuity.manager.editor import Editor
from session_continuity.manager.event_bus import EventBus
from session_continuity.models import Message, NewMessage
from session_continuity.runtime.backoff import backoff

__all__ = ["Tails"]

DEADLINE = 10.0  # seconds
MAX_POPPED = 999  # one less than a page, which also has the message before


class Tails:
    """The ends of one manager's conversations."""

    def __init__(
        self,
        storage: StorageAdapter,
        appender: Appender,
        editor: Editor,
        events: EventBus,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._appender = appender
        self._editor = editor
        self._events = events
        self._sleep = sleep

    async def replace(
        self, session_id: str, after_id: str | None, batch: Sequence[NewMessage], expected_last_id: str | None
    ) -> Replaced:
        """Replace everything after a message by the batch. Raises what `StorageAdapter.replace_tail` raises."""

        async def send(messages: Sequence[Message], client_ids: set[str]) -> Replaced:
            return await self._storage.replace_tail(
                session_id,
                after_id,
                messages,
                client_ids=client_ids,
                expected_last_id=expected_last_id,
                return_removed=True,
            )

        replaced = await self._appender.send(session_id, batch, send)
        await self._editor.delete_summary_of_removed(session_id, replaced.messages)
        for message in replaced.removed:
            await self._events.emit(
                MessageDeleted(session_id=session_id, at=self._storage.clock(), message_id=message.id)
            )
        if not replaced.repeated:
            await self._appender.report(session_id, replaced.messages)
        return replaced

    async def pop(self, session_id: str, count: int) -> Sequence[Message]:
        """Remove the last messages and return them in conversation order.

        When others append or remove messages meanwhile, the newest ones are read again. Raises ConversationChangedError
        when that goes on for 10 seconds.
        """
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_POPPED:
            raise ValidationError(f"n must be a whole number from 1 to {MAX_POPPED}")
        lost: ConversationChangedError | None = None
        async for _ in backoff(self._sleep, deadline=DEADLINE):
            newest = await self._storage.get_messages(session_id, MessageQuery(order="desc", limit=count + 1))
            if not newest:
                return ()
            after_id = newest[count].id if len(newest) > count else None
            try:
                replaced = await self.replace(session_id, after_id, (), newest[0].id)
            except ConversationChangedError as conflict:
                lost = conflict
                continue
            except MessageNotFoundError:  # somebody removed more than these
                replaced = Replaced(repeated=True)
            if not replaced.repeated:
                return replaced.removed
            # The tail was removed by somebody else, who has got its messages.
            lost = ConversationChangedError(session_id, expected_last_id=newest[0].id, last_id=after_id or "")
        assert lost is not None  # backoff makes at least one attempt
        raise lost
