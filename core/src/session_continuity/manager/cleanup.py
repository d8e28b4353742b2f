"""`Cleanup` removes expired sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import SessionContinuityError
from session_continuity.events import ErrorOccurred, SessionExpired
from session_continuity.manager.event_bus import EventBus

__all__ = ["Cleanup"]

_PAGE = 100


class Cleanup:
    """Removes the expired sessions of one store. `on_removed` is called with the id of each."""

    def __init__(self, storage: StorageAdapter, events: EventBus, on_removed: Callable[[str], None]) -> None:
        self._storage = storage
        self._events = events
        self._on_removed = on_removed

    async def run(self) -> int:
        """Remove every expired session and return how many this call removed.

        An error does not keep the other sessions from being removed. The first one is raised at the end.
        """
        now = self._storage.clock()
        removed, first_error, cursor = 0, None, None
        while True:
            page = await self._storage.get_expired_sessions(now, limit=_PAGE, cursor=cursor)
            for session_id in page:
                try:
                    removed += await self._remove(session_id, now)
                except SessionContinuityError as error:
                    first_error = first_error or error
            if (cursor := page.next_cursor) is None:
                break
        if first_error is not None:
            raise first_error
        return removed

    async def run_in_background(self) -> None:
        """`run`, where nobody waits for the result: an error becomes an event."""
        try:
            await self.run()
        except Exception as error:
            await self._events.emit(
                ErrorOccurred(session_id="", at=self._storage.clock(), source="cleanup", error=error)
            )

    async def _remove(self, session_id: str, now: datetime) -> bool:
        """Remove the session unless somebody extended it or created it anew since it was listed."""
        removed = await self._storage.delete_session(session_id, expired_before=now)
        if removed:
            self._on_removed(session_id)
            await self._events.emit(SessionExpired(session_id=session_id, at=self._storage.clock()))
        return removed
