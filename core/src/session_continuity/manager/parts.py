"""`ManagerParts`: what the methods of a manager work with."""

from __future__ import annotations

from typing import Self

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import SessionNotFoundError
from session_continuity.events import SessionCreated
from session_continuity.manager.creation import SessionBuilder
from session_continuity.manager.editor import Editor
from session_continuity.manager.event_bus import EventBus
from session_continuity.manager.lifecycle import Lifecycle
from session_continuity.manager.options import ManagerSettings
from session_continuity.manager.sliding_expiry import SlidingExpiry
from session_continuity.models import Session

__all__ = ["ManagerParts"]


class ManagerParts:
    """The base class of the groups of a manager's methods. The manager itself creates the parts."""

    _settings: ManagerSettings
    _storage: StorageAdapter
    _lifecycle: Lifecycle
    _events: EventBus
    _sliding: SlidingExpiry
    _sessions: SessionBuilder
    _editor: Editor

    def _view(self, storage: StorageAdapter) -> Self:
        """A manager on another view of the store, with the same options and event handlers."""
        raise NotImplementedError

    async def _existing(self, session_id: str) -> Session:
        """The session. Raises SessionNotFoundError."""
        session = await (await self._lifecycle.ready(session_id=session_id)).get_session(session_id)
        if session is None:
            raise SessionNotFoundError(session_id)
        self._remember(session)
        return session

    async def _report_created(self, session: Session) -> None:
        """Emit the event of a session that was created, and cache its expiry."""
        self._remember(session)
        await self._events.emit(SessionCreated(session_id=session.id, at=self._storage.clock()))

    def _remember(self, session: Session) -> None:
        self._sliding.remember(session)

    def _forget(self, session_id: str) -> None:
        self._sliding.forget(session_id)
