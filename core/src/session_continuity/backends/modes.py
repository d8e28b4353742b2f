"""Adapters in the mode that is needed, also where a store has only the other one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any, ParamSpec, TypeVar

from session_continuity.backends.forwarding import ForwardingAdapter
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import ConfigError
from session_continuity.runtime.client_calls import ThreadRunner
from session_continuity.runtime.modes import Mode, run_now

__all__ = ["ThreadedAdapter", "as_async", "require_mode"]

P = ParamSpec("P")
R = TypeVar("R")


def require_mode(storage: object, modes: Collection[Mode]) -> StorageAdapter:
    """The adapter, if it is one and in one of these modes. Raises ConfigError if not."""
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


def as_async(adapter: StorageAdapter) -> StorageAdapter:
    """The adapter itself if it is in async mode, otherwise a `ThreadedAdapter` around it."""
    return adapter if adapter.mode == "async" else ThreadedAdapter(adapter)


class ThreadedAdapter(ForwardingAdapter):
    """A blocking adapter for async code.

    Each call runs in a worker thread. It runs to its end even when its caller is cancelled.
    """

    def __init__(self, inner: StorageAdapter, *, threads: int = 4) -> None:
        super().__init__(require_mode(inner, {"blocking"}))
        self.mode = "async"
        self._runner = ThreadRunner(threads)
        self._is_view = False

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._runner.call(lambda: run_now(method(*args, **kwargs)))

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = super().view(namespace=namespace, owner=owner)
        assert isinstance(view, ThreadedAdapter)  # a copy of this one, with the same threads
        view._is_view = True
        return view

    async def close(self) -> None:
        await super().close()
        if not self._is_view:
            await self._runner.aclose()
