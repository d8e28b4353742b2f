"""An adapter around an adapter: what recording, the portal, faults and mutants have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from session_continuity import (
    Appended,
    ConversationPage,
    HealthStatus,
    Message,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionFilter,
    StorageAdapter,
)

P = ParamSpec("P")
R = TypeVar("R")
Method = Callable[P, Coroutine[Any, Any, R]]

METHODS = tuple(sorted(StorageAdapter.__abstractmethods__))


class Forwarding(StorageAdapter):
    """Hands every call on through `forward`, which a subclass replaces; or replaces one method alone."""

    backend = "wrapped"

    def __init__(self, inner: StorageAdapter) -> None:
        self.inner = inner
        self.mode = inner.mode
        self.capabilities = inner.capabilities
        self.clock = lambda: inner.clock()

    async def forward(self, method: Method[P, R], /, *args: P.args, **options: P.kwargs) -> R:
        """One call of a method of the inner adapter."""
        return await method(*args, **options)

    async def setup(self) -> None:
        await self.forward(self.inner.setup)

    async def close(self) -> None:
        await self.forward(self.inner.close)

    async def health(self) -> HealthStatus:
        return await self.forward(self.inner.health)

    async def create_session(self, session: Session) -> Session:
        return await self.forward(self.inner.create_session, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self.forward(self.inner.get_session, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self.forward(self.inner.update_session, session_id, patch, expected_version=expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self.forward(self.inner.delete_session, session_id, expired_before=expired_before)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self.forward(self.inner.list_sessions, filter, limit=limit, cursor=cursor)

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return await self.forward(self.inner.append_messages, session_id, messages, chosen_ids=chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self.forward(self.inner.get_message, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self.forward(self.inner.get_messages, session_id, query, cursor=cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self.forward(self.inner.get_conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self.forward(self.inner.update_message, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self.forward(self.inner.delete_message, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self.forward(self.inner.delete_all_messages, session_id)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self.forward(self.inner.get_expired_sessions, before, limit=limit, cursor=cursor)
