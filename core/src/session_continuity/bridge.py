"""Bridges between the modes, for stores that come in one mode only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from session_continuity.adapter import Appended, HealthStatus, MessageQuery, Patch, SessionFilter, StorageAdapter
from session_continuity.models import Message, Session
from session_continuity.paging import Page
from session_continuity.runtime import Clock, Mode, ThreadWire, run_now

__all__ = ["InThreads", "for_async"]


def for_async(adapter: StorageAdapter) -> StorageAdapter:
    """The adapter itself where it is in async mode, otherwise one that runs it in worker threads."""
    return adapter if adapter.mode == "async" else InThreads(adapter)


class InThreads(StorageAdapter):
    """A blocking store for async code: each call runs in a worker thread, to its end even when its caller is
    cancelled."""

    mode: Mode = "async"

    def __init__(self, adapter: StorageAdapter, *, threads: int = 4) -> None:
        self.backend = adapter.backend  # type: ignore[misc]  # the store's own name, in every message
        self.capabilities = adapter.capabilities
        self._adapter = adapter
        self._wire = ThreadWire(threads)

    @property
    def clock(self) -> Clock:
        return self._adapter.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._adapter.clock = clock

    async def setup(self) -> None:
        await self._wire.call(run_now, self._adapter.setup())

    async def close(self) -> None:
        await self._wire.call(run_now, self._adapter.close())
        self._wire.close()

    async def health(self) -> HealthStatus:
        return await self._wire.call(run_now, self._adapter.health())

    async def create_session(self, session: Session) -> Session:
        return await self._wire.call(run_now, self._adapter.create_session(session))

    async def get_session(self, session_id: str) -> Session | None:
        return await self._wire.call(run_now, self._adapter.get_session(session_id))

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._wire.call(
            run_now, self._adapter.update_session(session_id, patch, expected_version=expected_version)
        )

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self._wire.call(run_now, self._adapter.delete_session(session_id, expired_before=expired_before))

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._wire.call(run_now, self._adapter.list_sessions(filter, limit=limit, cursor=cursor))

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return await self._wire.call(
            run_now, self._adapter.append_messages(session_id, messages, chosen_ids=chosen_ids)
        )

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._wire.call(run_now, self._adapter.get_message(session_id, message_id))

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._wire.call(run_now, self._adapter.get_messages(session_id, query, cursor=cursor))

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._wire.call(run_now, self._adapter.update_message(session_id, message_id, patch))

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._wire.call(run_now, self._adapter.delete_message(session_id, message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._wire.call(run_now, self._adapter.delete_all_messages(session_id))

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._wire.call(run_now, self._adapter.get_expired_sessions(before, limit=limit, cursor=cursor))
