"""`Lifecycle` opens and closes what a manager uses: its store and the cleanup in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.manager import arguments
from session_continuity.runtime.modes import run_now
from session_continuity.runtime.periodic import Periodic

__all__ = ["Lifecycle"]


class Lifecycle:
    """Sets the store up at the first call, and runs the cleanup from then on until `close`.

    `set_up` is called at the first call. `clean_up` is run every `cleanup_interval` seconds, in the loop of the first
    call or, in blocking mode, in a thread; never without an interval. The store is closed only if `owns_storage` is
    True.
    """

    def __init__(
        self,
        storage: StorageAdapter,
        set_up: Callable[[], Coroutine[Any, Any, object]],
        clean_up: Callable[[], Coroutine[Any, Any, object]],
        cleanup_interval: float | None,
    ) -> None:
        self.owns_storage = False
        self._storage = storage
        self._set_up = set_up
        self._clean_up = clean_up
        self._cleanup_interval = cleanup_interval
        self._is_ready = False
        self._is_closed = False
        self._periodic: Periodic | None = None
        self._lock = threading.Lock()

    async def start(self) -> None:
        """Set the store up and start the cleanup; also after `close`."""
        self._is_closed = False
        await self.ready()
        self._start_cleanup()

    async def ready(self, **ids: str) -> StorageAdapter:
        """The store, set up at the first call. Raises ValidationError if one of `ids` cannot be an id."""
        arguments.check_ids(**ids)
        if not self._is_ready:
            await self._set_up()
            self._is_ready = True
            self._start_cleanup()
        return self._storage

    async def close(self) -> None:
        """Stop the cleanup, and close the store if it is owned. May be called again."""
        with self._lock:
            self._is_closed = True
            periodic, self._periodic = self._periodic, None
        try:
            if periodic is not None:
                await self._stop(periodic)
        finally:
            if self.owns_storage:
                await self._storage.close()

    def _start_cleanup(self) -> None:
        with self._lock:
            if self._cleanup_interval is None or self._periodic is not None or self._is_closed:
                return
            self._periodic = Periodic(self._cleanup_interval)
            if self._storage.mode == "async":
                self._periodic.start_task(self._clean_up)
            else:
                self._periodic.start_thread(lambda: run_now(self._clean_up()))

    async def _stop(self, periodic: Periodic) -> None:
        if self._storage.mode == "async":
            await periodic.stop_task()
        else:
            periodic.stop_thread()
