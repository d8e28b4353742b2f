"""`Erasure` removes everything of a user, and proves it by reading back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.queries import SessionFilter
from session_continuity.models import Session

__all__ = ["Erased", "Erasure", "ErasureReceipt"]

_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """A session that was removed with its user: its id, the number of its messages, and when it was removed."""

    session_id: str
    message_count: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReceipt:
    """What `erase_user` removed, in order.

    `left` are the sessions of the user that were found by reading back after the last removal: somebody created them
    meanwhile. Run the erasure again until there are none.
    """

    user_id: str
    started_at: datetime
    finished_at: datetime
    sessions: tuple[Erased, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def is_verified(self) -> bool:
        """Whether nothing of the user was left."""
        return not self.left

    @property
    def message_count(self) -> int:
        """The messages of all sessions that were removed."""
        return sum(session.message_count for session in self.sessions)


class Erasure:
    """Erases the users of one store."""

    def __init__(self, storage: StorageAdapter) -> None:
        self._storage = storage

    async def remove(self, user_id: str) -> AsyncGenerator[Erased, None]:
        """Remove the user's sessions one by one, also those that are created meanwhile."""
        is_done = False
        while not is_done:
            is_done = True
            async for session in self._sessions(user_id):
                erased = await self._remove(session, user_id)
                if erased is not None:
                    is_done = False
                    yield erased

    async def left(self, user_id: str) -> tuple[str, ...]:
        """The ids of the user's sessions that can be read. A listing that lags may show more."""
        return tuple(
            [session.id async for session in self._sessions(user_id) if await self._is_of(session.id, user_id)]
        )

    async def _remove(self, session: Session, user_id: str) -> Erased | None:
        """Remove a session unless it is gone, or belongs to somebody else by now."""
        current = await self._storage.get_session(session.id)
        if current is None or current.user_id != user_id:
            return None
        if not await self._storage.delete_session(session.id):
            return None
        return Erased(session_id=session.id, message_count=current.message_count, at=self._storage.clock())

    async def _is_of(self, session_id: str, user_id: str) -> bool:
        session = await self._storage.get_session(session_id)
        return session is not None and session.user_id == user_id

    async def _sessions(self, user_id: str) -> AsyncGenerator[Session, None]:
        cursor: str | None = None
        while True:
            page = await self._storage.list_sessions(SessionFilter(user_id=user_id), limit=_PAGE, cursor=cursor)
            for session in page:
                yield session
            if (cursor := page.next_cursor) is None:
                return
