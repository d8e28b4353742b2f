"""Bridges between the modes, for stores that come in one mode only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from session_continuity.adapter import (
    Appended,
    ConversationPage,
    HealthStatus,
    MessageQuery,
    Patch,
    SessionFilter,
    StorageAdapter,
)
from session_continuity.errors import ConfigError
from session_continuity.models import Message, Session
from session_continuity.paging import Page
from session_continuity.runtime import Clock, Mode, ThreadWire, of_its_own, run_now

__all__ = ["InThreads", "for_async", "in_mode", "waiter"]

P = ParamSpec("P")
R = TypeVar("R")


def in_mode(storage: object, modes: Collection[Mode]) -> StorageAdapter:
    """The adapter, which is in one of these modes. Raises ConfigError for another, and for what is no adapter."""
    if isinstance(getattr(storage, "adapter", None), StorageAdapter):
        raise ConfigError(
            "this store was opened for blocking code; open_async_storage opens one for AsyncSessionManager"
        )
    if not isinstance(storage, StorageAdapter):
        raise ConfigError(
            f"a storage is an adapter, not {type(storage).__name__}; "
            "give a URL to SessionManager.open, AsyncSessionManager.open, open_storage or open_async_storage"
        )
    if storage.mode not in modes:
        fitting = "SessionManager" if storage.mode == "blocking" else "AsyncSessionManager"
        raise ConfigError(f"this {storage.backend} storage is in {storage.mode} mode; use {fitting}, or open it by URL")
    return storage


def waiter(mode: Mode) -> Callable[[Awaitable[R]], Awaitable[R]]:
    """How code of this mode runs an awaitable that an application handed in: in blocking mode in a run of its own, so
    that one that suspends fails by itself and not the call it happened in."""
    return of_its_own if mode == "async" else _run_apart


async def _run_apart(awaitable: Awaitable[R]) -> R:
    return run_now(_awaited(awaitable))


async def _awaited(awaitable: Awaitable[R]) -> R:
    return await awaitable


def for_async(adapter: StorageAdapter) -> StorageAdapter:
    """The adapter itself where it is in async mode, otherwise one that runs it in worker threads."""
    return adapter if adapter.mode == "async" else InThreads(adapter)


class InThreads(StorageAdapter):
    """A blocking store for async code: each call runs in a worker thread, to its end even when its caller is
    cancelled."""

    mode: Mode = "async"

    def __init__(self, adapter: StorageAdapter, *, threads: int = 4) -> None:
        self._adapter = in_mode(adapter, {"blocking"})
        self.backend = adapter.backend
        self.capabilities = adapter.capabilities
        self._wire = ThreadWire(threads)

    async def _call(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._wire.call(lambda: run_now(method(*args, **kwargs)))

    @property
    def clock(self) -> Clock:
        return self._adapter.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # the inner one's
        self._adapter.clock = clock

    async def setup(self) -> None:
        await self._call(self._adapter.setup)

    async def close(self) -> None:
        await self._call(self._adapter.close)
        await self._wire.aclose()

    async def health(self) -> HealthStatus:
        return await self._call(self._adapter.health)

    async def create_session(self, session: Session) -> Session:
        return await self._call(self._adapter.create_session, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._call(self._adapter.get_session, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._call(self._adapter.update_session, session_id, patch, expected_version=expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self._call(self._adapter.delete_session, session_id, expired_before=expired_before)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._call(self._adapter.list_sessions, filter, limit=limit, cursor=cursor)

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return await self._call(self._adapter.append_messages, session_id, messages, chosen_ids=chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._call(self._adapter.get_message, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._call(self._adapter.get_messages, session_id, query, cursor=cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._call(self._adapter.get_conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._call(self._adapter.update_message, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._call(self._adapter.delete_message, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._call(self._adapter.delete_all_messages, session_id)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._call(self._adapter.get_expired_sessions, before, limit=limit, cursor=cursor)
