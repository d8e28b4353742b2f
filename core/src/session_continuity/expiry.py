"""Sliding expiry: a session that is used stays, at the price of a rare extra write.

The new expiry is written when a tenth of the session's `sliding_ttl` has gone since the last one, not at every
message. What this process knows of a session's expiry is remembered, so that most appends ask nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from session_continuity.adapter import Patch, StorageAdapter
from session_continuity.concurrency import change_session
from session_continuity.models import Session
from session_continuity.recent import Recent

__all__ = ["SlidingExpiry"]

_STAMP_AFTER = 0.1


@dataclass(frozen=True, slots=True)
class _Known:
    expires_at: datetime | None
    ttl: timedelta | None

    def stamp(self, now: datetime) -> Patch | None:
        """The later expiry, if one is due."""
        if self.expires_at is None or self.ttl is None or self.expires_at - now >= self.ttl * (1 - _STAMP_AFTER):
            return None
        return Patch(set={"expires_at": now + self.ttl})


class SlidingExpiry:
    """Moves `expires_at` ahead for the sessions of one manager."""

    def __init__(self, storage: StorageAdapter, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._storage = storage
        self._sleep = sleep
        self._remembered: Recent[_Known] = Recent()

    def note(self, session: Session) -> None:
        """Remember what was just read of a session."""
        self._remembered.note(session.id, _known(session))

    def forget(self, session_id: str) -> None:
        """Drop what is remembered of a session that is gone."""
        self._remembered.forget(session_id)

    async def touch(self, session_id: str) -> None:
        """Note that the session was used; writes a later expiry when one is due by what the store says then, so that
        nobody else's later expiry is cut short. Raises what the store raises, and SessionNotFoundError when the
        session is gone."""
        now = self._storage.clock()
        known = self._remembered.get(session_id)
        if known is None or known.stamp(now):
            self.note(
                await change_session(
                    self._storage, session_id, lambda session: _known(session).stamp(now), sleep=self._sleep
                )
            )


def _known(session: Session) -> _Known:
    ttl = None if session.sliding_ttl is None else timedelta(seconds=session.sliding_ttl)
    return _Known(session.expires_at, ttl)
