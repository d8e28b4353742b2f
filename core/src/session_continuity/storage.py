"""Bare stores, opened by URL: the contract without a manager. `Storage` is `StorageAdapter` for code without an event
loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self, TypeVar

from session_continuity.adapter import (
    Appended,
    ConversationPage,
    HealthStatus,
    MessageQuery,
    Patch,
    SessionFilter,
    StorageAdapter,
)
from session_continuity.bridge import for_async, in_mode
from session_continuity.errors import StorageClosedError
from session_continuity.models import Message, Session
from session_continuity.paging import Page
from session_continuity.registry import Registry, default_registry
from session_continuity.runtime import Portal, Runner, run_now

__all__ = ["Storage", "open_async_storage", "open_storage", "storage_at"]

R = TypeVar("R")


class Storage:
    """A store for blocking code: the methods of `StorageAdapter`, not awaited. Close it, or use it in a `with`.

    Takes an adapter in blocking mode. One in async mode runs in a portal: `Storage.through_portal`.
    """

    def __init__(self, adapter: StorageAdapter) -> None:
        self.adapter = in_mode(adapter, {"blocking"})
        self._runner: Runner | None = run_now
        self._portal: Portal | None = None

    @classmethod
    def through_portal(cls, adapter: StorageAdapter) -> Self:
        """An async store for blocking code: its calls run in an event loop in a background thread."""
        storage = cls.__new__(cls)
        storage.adapter = in_mode(adapter, {"async"})
        storage._portal = Portal()
        storage._runner = storage._portal.run
        return storage

    def __enter__(self) -> Self:
        self.setup()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, coroutine: Coroutine[Any, Any, R], /) -> R:
        """Run a coroutine over the adapter to its end. Raises StorageClosedError after `close`."""
        if (runner := self._runner) is None:
            coroutine.close()
            raise StorageClosedError(backend=self.adapter.backend, operation=getattr(coroutine, "__name__", "close"))
        return runner(coroutine)

    def close(self) -> None:
        """Release what the adapter opened. May be called again."""
        if self._runner is None:
            return
        try:
            self.run(self.adapter.close())
        finally:
            if self._portal is not None:
                self._runner = None
                self._portal.close()

    def setup(self) -> None:
        """See `StorageAdapter.setup`."""
        return self.run(self.adapter.setup())

    def health(self) -> HealthStatus:
        """See `StorageAdapter.health`."""
        return self.run(self.adapter.health())

    def create_session(self, session: Session) -> Session:
        """See `StorageAdapter.create_session`."""
        return self.run(self.adapter.create_session(session))

    def get_session(self, session_id: str) -> Session | None:
        """See `StorageAdapter.get_session`."""
        return self.run(self.adapter.get_session(session_id))

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        """See `StorageAdapter.update_session`."""
        return self.run(self.adapter.update_session(session_id, patch, expected_version=expected_version))

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        """See `StorageAdapter.delete_session`."""
        return self.run(self.adapter.delete_session(session_id, expired_before=expired_before))

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        """See `StorageAdapter.list_sessions`."""
        return self.run(self.adapter.list_sessions(filter, limit=limit, cursor=cursor))

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        """See `StorageAdapter.append_messages`."""
        return self.run(self.adapter.append_messages(session_id, messages, chosen_ids=chosen_ids))

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        """See `StorageAdapter.get_message`."""
        return self.run(self.adapter.get_message(session_id, message_id))

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        """See `StorageAdapter.get_messages`."""
        return self.run(self.adapter.get_messages(session_id, query, cursor=cursor))

    def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        """See `StorageAdapter.get_conversation`."""
        return self.run(self.adapter.get_conversation(session_id, query))

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        """See `StorageAdapter.update_message`."""
        return self.run(self.adapter.update_message(session_id, message_id, patch))

    def delete_message(self, session_id: str, message_id: str) -> bool:
        """See `StorageAdapter.delete_message`."""
        return self.run(self.adapter.delete_message(session_id, message_id))

    def delete_all_messages(self, session_id: str) -> int:
        """See `StorageAdapter.delete_all_messages`."""
        return self.run(self.adapter.delete_all_messages(session_id))

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        """See `StorageAdapter.get_expired_sessions`."""
        return self.run(self.adapter.get_expired_sessions(before, limit=limit, cursor=cursor))


def open_storage(url: str | None = None, *, registry: Registry | None = None) -> Storage:
    """The bare store that `url`, or SESSION_CONTINUITY_URL, names, set up, for those who want the contract without a
    manager. `close` or `with` closes it. Raises ConfigError and PluginError."""
    storage = storage_at(url, registry or default_registry())
    try:
        storage.setup()
    except BaseException:
        storage.close()
        raise
    return storage


@asynccontextmanager
async def open_async_storage(
    url: str | None = None, *, registry: Registry | None = None
) -> AsyncGenerator[StorageAdapter, None]:
    """The bare store that `url`, or SESSION_CONTINUITY_URL, names, set up, for those who want the contract without a
    manager; closed at the end of the `async with`. Raises ConfigError and PluginError."""
    adapter = for_async((registry or default_registry()).create(url, "async"))
    try:
        await adapter.setup()
        yield adapter
    finally:
        await adapter.close()


def storage_at(url: str | None, registry: Registry) -> Storage:
    """The store of a URL, not set up yet."""
    adapter = registry.create(url, "blocking")
    return Storage(adapter) if adapter.mode == "blocking" else Storage.through_portal(adapter)
