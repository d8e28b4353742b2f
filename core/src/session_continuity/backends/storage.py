"""Stores opened by URL, for code that uses the contract without a manager."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self, TypeVar, Unpack

from session_continuity.backends.forwarding import address
from session_continuity.backends.modes import as_async, require_mode
from session_continuity.backends.observed import CallObserver
from session_continuity.backends.portable import portable
from session_continuity.backends.registry import Registry, default_registry
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Page
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter
from session_continuity.contract.results import Appended, ConversationPage, Fork, HealthStatus, Replaced
from session_continuity.contract.terms import AppendTerms
from session_continuity.errors import StorageClosedError
from session_continuity.models import Message, Session
from session_continuity.runtime.modes import Runner, run_now
from session_continuity.runtime.portal import Portal

__all__ = ["Storage", "open_async_storage", "open_storage", "storage_at"]

R = TypeVar("R")


class Storage:
    """A store for blocking code: the methods of `StorageAdapter`, not awaited. Close it, or use it in a `with`.

    `adapter` is in blocking mode; for one in async mode, use `Storage.through_portal`. `observe` is called after every
    call of the store.
    """

    def __init__(self, adapter: StorageAdapter, *, observe: CallObserver | None = None) -> None:
        self.adapter = portable(require_mode(adapter, {"blocking"}), observe)
        self._runner: Runner | None = run_now
        self._portal: Portal | None = None

    @classmethod
    def through_portal(cls, adapter: StorageAdapter) -> Self:
        """A store for blocking code from an adapter in async mode, which runs in a loop in a background thread."""
        storage = cls.__new__(cls)
        storage.adapter = portable(require_mode(adapter, {"async"}))
        storage._portal = Portal()
        storage._runner = storage._portal.run
        return storage

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {address(self.adapter)}>"

    def __enter__(self) -> Self:
        self.setup()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, coroutine: Coroutine[Any, Any, R], /) -> R:
        """Run a coroutine that uses the adapter and return its result. Raises StorageClosedError after `close`."""
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

    def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        """See `StorageAdapter.delete_session`."""
        return self.run(
            self.adapter.delete_session(session_id, expired_before=expired_before, expected_version=expected_version)
        )

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        """See `StorageAdapter.list_sessions`."""
        return self.run(self.adapter.list_sessions(filter, limit=limit, cursor=cursor))

    def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        """See `StorageAdapter.append_messages`."""
        return self.run(self.adapter.append_messages(session_id, messages, client_ids=client_ids, **terms))

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

    def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        """See `StorageAdapter.replace_tail`."""
        return self.run(
            self.adapter.replace_tail(
                session_id,
                after_id,
                messages,
                client_ids=client_ids,
                expected_last_id=expected_last_id,
                return_removed=return_removed,
            )
        )

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        """See `StorageAdapter.fork_session`."""
        return self.run(self.adapter.fork_session(source_id, session, through_id=through_id))

    def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        """See `StorageAdapter.list_forks`."""
        return self.run(self.adapter.list_forks(source_id, limit=limit, cursor=cursor))

    def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        """See `StorageAdapter.search_messages`."""
        return self.run(
            self.adapter.search_messages(text, user_id=user_id, session_id=session_id, limit=limit, cursor=cursor)
        )

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        """See `StorageAdapter.get_expired_sessions`."""
        return self.run(self.adapter.get_expired_sessions(before, limit=limit, cursor=cursor))


def open_storage(url: str | None = None, *, registry: Registry | None = None) -> Storage:
    """The store that `url`, or SESSION_CONTINUITY_URL, names, without a manager, and set up.

    `close` or `with` closes it. Raises ConfigError and PluginError.
    """
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
    """The store that `url`, or SESSION_CONTINUITY_URL, names, without a manager.

    It is set up at the beginning of the `async with` and closed at its end. Raises ConfigError and PluginError.
    """
    adapter = as_async((registry or default_registry()).create(url, "async"))
    try:
        await adapter.setup()
        yield adapter
    finally:
        await adapter.close()


def storage_at(url: str | None, registry: Registry) -> Storage:
    """The store of a URL, not set up yet."""
    adapter = registry.create(url, "blocking")
    return Storage(adapter) if adapter.mode == "blocking" else Storage.through_portal(adapter)
