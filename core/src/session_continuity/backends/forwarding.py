"""`ForwardingAdapter`, the base class of everything that wraps an adapter: tracing, encryption, chaos, other modes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from copy import copy
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Page
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter
from session_continuity.contract.results import Appended, ConversationPage, Fork, HealthStatus, Replaced
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import SessionContinuityError
from session_continuity.models import Message, Session
from session_continuity.runtime.clocks import Clock

__all__ = ["ForwardingAdapter", "address", "innermost"]

P = ParamSpec("P")
R = TypeVar("R")


class ForwardingAdapter(StorageAdapter):
    """An adapter that passes every call on to `inner`.

    A subclass overrides the methods that it changes, or `forward`, through which every call goes. It cannot forget a
    method: operations that later versions of the contract add are forwarded here too. `clock` is the inner adapter's,
    also when it is replaced. `backend`, `mode` and `capabilities` are the inner adapter's unless a subclass sets them.
    `url` is the URL that the adapter was opened with, without secrets, or empty.
    """

    def __init__(self, inner: StorageAdapter) -> None:
        self.inner = inner
        self.url: str = inner.url if isinstance(inner, ForwardingAdapter) else ""
        self.backend = inner.backend
        self.mode = inner.mode
        self.capabilities = inner.capabilities
        self.contract = inner.contract

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {address(self)}>"

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of the inner adapter and return its result. `method.__name__` is the operation."""
        return await method(*args, **kwargs)

    @property
    def clock(self) -> Clock:
        """The inner adapter's clock."""
        return self.inner.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # a property here
        self.inner.clock = clock

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        return self.inner.translate(error, operation)

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        inner = self.inner.view(namespace=namespace, owner=owner)
        clone = copy(self)
        clone.inner = inner
        return clone

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

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        return await self.forward(
            self.inner.delete_session, session_id, expired_before=expired_before, expected_version=expected_version
        )

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self.forward(self.inner.list_sessions, filter, limit=limit, cursor=cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        return await self.forward(self.inner.append_messages, session_id, messages, client_ids=client_ids, **terms)

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

    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        return await self.forward(
            self.inner.replace_tail,
            session_id,
            after_id,
            messages,
            client_ids=client_ids,
            expected_last_id=expected_last_id,
            return_removed=return_removed,
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await self.forward(self.inner.fork_session, source_id, session, through_id=through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await self.forward(self.inner.list_forks, source_id, limit=limit, cursor=cursor)

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        return await self.forward(
            self.inner.search_messages, text, user_id=user_id, session_id=session_id, limit=limit, cursor=cursor
        )

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self.forward(self.inner.get_expired_sessions, before, limit=limit, cursor=cursor)


def address(adapter: StorageAdapter) -> str:
    """The URL that an adapter was opened with, without secrets; the scheme of its backend if it has none."""
    return (adapter.url if isinstance(adapter, ForwardingAdapter) else "") or adapter.backend


def innermost(adapter: StorageAdapter) -> StorageAdapter:
    """The backend's own adapter inside every wrapper that is a `ForwardingAdapter`."""
    while isinstance(adapter, ForwardingAdapter):
        adapter = adapter.inner
    return adapter
