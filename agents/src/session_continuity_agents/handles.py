"""`ManagerHandle`: the manager that an adapter works with, opened from a URL or by the application."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar, cast

from session_continuity import URL_VARIABLE, AsyncSessionManager, ConfigError, Portal

__all__ = ["HasManager", "ManagerHandle"]

R = TypeVar("R")


class _Shared:
    """The manager of one URL in one process, and how many handles use it."""

    def __init__(self, url: str | None) -> None:
        self.manager = AsyncSessionManager.open(url)
        self.handles = 0


_lock = threading.Lock()
_by_url: dict[tuple[int, str | None], _Shared] = {}
_portals: dict[int, Portal] = {}


class ManagerHandle:
    """The manager of an adapter: `manager` if it is given, otherwise that of `url` or SESSION_CONTINUITY_URL.

    All handles of one URL in a process share one manager, and so its connections: an application may create an adapter
    for each request. The manager is closed when every handle is closed. A handle that is never closed keeps it open
    until the process ends. A manager that is given is never closed.

    The manager serves every event loop. A framework may run each turn in a new loop, or call from threads.

    Raises ConfigError for a URL that cannot be opened, and if both are given.
    """

    def __init__(self, url: str | None, manager: AsyncSessionManager | None) -> None:
        if url is not None and manager is not None:
            raise ConfigError("give a url or a manager, not both")
        if manager is not None and not isinstance(cast("object", manager), AsyncSessionManager):
            raise ConfigError(f"manager must be an AsyncSessionManager, not {type(manager).__name__}")
        self._given = manager
        self._url = url
        self._opened: tuple[int, _Shared] | None = None
        if manager is None:
            self._open()

    @property
    def manager(self) -> AsyncSessionManager:
        """The manager, opened again after `aclose` and in a forked child, which cannot use its parent's connections."""
        if self._given is not None:
            return self._given
        opened = self._opened
        return opened[1].manager if opened is not None and opened[0] == os.getpid() else self._open()

    def _open(self) -> AsyncSessionManager:
        process, url = os.getpid(), self._url or os.environ.get(URL_VARIABLE)
        with _lock:
            if self._opened is None or self._opened[0] != process:
                shared = _by_url.get((process, url)) or _by_url.setdefault((process, url), _Shared(url))
                shared.handles += 1
                self._opened = process, shared
            return self._opened[1].manager

    async def aclose(self) -> None:
        """Close the manager, if it was opened here and no other handle uses it. May be called again."""
        with _lock:
            opened, self._opened = self._opened, None
            if opened is None or opened[0] != os.getpid():
                return
            shared = opened[1]
            shared.handles -= 1
            if shared.handles:
                return
            for key in [key for key, value in _by_url.items() if value is shared]:
                del _by_url[key]
        await shared.manager.close()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """The result of a coroutine that uses the manager, for blocking code. It runs in the loop of a background
        thread, which all handles share, and may be called inside of a running loop."""
        with _lock:
            portal = _portals.setdefault(os.getpid(), Portal())
        return portal.run(coroutine)


class HasManager:
    """What every adapter on a handle has: its manager, and a way to release it. A context manager."""

    _handle: ManagerHandle

    @property
    def manager(self) -> AsyncSessionManager:
        """The manager of the store, for everything that the framework does not do."""
        return self._handle.manager

    async def aclose(self) -> None:
        """Release the store. It is closed when nothing else in this process uses its URL."""
        await self._handle.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
