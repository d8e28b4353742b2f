"""Sliding expiry: a session that is used stays, at the price of a rare extra write.

The new expiry is written when a tenth of the session's `sliding_ttl` has passed since the last one, not at every
message. What this process knows of a session's expiry is cached, so most appends need no extra request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.changes import change_session
from session_continuity.contract.patch import Patch
from session_continuity.models import Session
from session_continuity.runtime.cache import BoundedCache

__all__ = ["SlidingExpiry"]

_WRITE_AFTER = 0.1  # of the ttl


@dataclass(frozen=True, slots=True)
class _Expiry:
    """When a session expires, and how long it lives after it was used."""

    expires_at: datetime | None
    ttl: timedelta | None

    @classmethod
    def of(cls, session: Session) -> _Expiry:
        ttl = session.sliding_ttl
        return cls(session.expires_at, None if ttl is None else timedelta(seconds=ttl))

    def extension(self, now: datetime) -> Patch | None:
        """The change to a later expiry; None if it is too early for one."""
        if self.expires_at is None or self.ttl is None or self.expires_at - now >= self.ttl * (1 - _WRITE_AFTER):
            return None
        return Patch(set={"expires_at": now + self.ttl})


class SlidingExpiry:
    """Moves `expires_at` ahead for the sessions of one manager.

    The session's `sliding_ttl` decides, whatever the options of the manager that uses it. A store tells with an append
    whether the session slides, so only one that does is read, once. Where a store does not tell, every session is.
    """

    def __init__(self, storage: StorageAdapter, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._storage = storage
        self._sleep = sleep
        self._known: BoundedCache[_Expiry] = BoundedCache()

    def remember(self, session: Session) -> None:
        """Cache the expiry of a session that was just read."""
        self._known.set(session.id, _Expiry.of(session))

    def forget(self, session_id: str) -> None:
        """Drop what is cached of a session that is gone."""
        self._known.discard(session_id)

    async def touch(self, session_id: str, slides: bool | None) -> None:
        """Extend the session's life because it was used, if an extension is due.

        `slides` is what the store told of the session, see `Appended`. The store decides by its own state, so nobody
        else's later expiry is cut short. Raises what the store raises, and SessionNotFoundError when the session is
        gone.
        """
        now = self._storage.clock()
        if slides is not False and self._is_due(self._known.get(session_id), now, slides):
            self.remember(
                await change_session(
                    self._storage,
                    session_id,
                    lambda session: _Expiry.of(session).extension(now),
                    sleep=self._sleep,
                )
            )

    def _is_due(self, known: _Expiry | None, now: datetime, slides: bool | None) -> bool:
        """Whether the session has to be read, to find out or because an extension is due."""
        if known is None or (slides and known.ttl is None):
            return True
        return known.extension(now) is not None
