"""Sliding expiry: a session that is used stays, at the price of a rare extra write.

The new expiry is written when a tenth of the session's `sliding_ttl` has gone since the last one, not at every
message. What this process knows of a session's expiry is remembered, so that most appends ask nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from session_continuity.adapter import Patch, StorageAdapter
from session_continuity.errors import SessionNotFoundError
from session_continuity.models import Session

__all__ = ["SlidingExpiry"]

_REMEMBERED = 10_000
_STAMP_AFTER = 0.1


@dataclass(frozen=True, slots=True)
class _Known:
    expires_at: datetime | None
    ttl: timedelta | None

    def is_due(self, now: datetime) -> bool:
        if self.expires_at is None or self.ttl is None:
            return False
        return self.expires_at - now < self.ttl * (1 - _STAMP_AFTER)


class SlidingExpiry:
    """Moves `expires_at` ahead for the sessions of one manager."""

    def __init__(self, storage: StorageAdapter) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def note(self, session: Session) -> None:
        """Remember what was just read of a session."""
        ttl = None if session.sliding_ttl is None else timedelta(seconds=session.sliding_ttl)
        with self._lock:
            self._known[session.id] = _Known(session.expires_at, ttl)
            self._known.move_to_end(session.id)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Drop what is remembered of a session that is gone."""
        with self._lock:
            self._known.pop(session_id, None)

    async def touch(self, session_id: str) -> None:
        """Note that the session was used; writes a later expiry when one is due. Raises what the store raises, and
        SessionNotFoundError when the session is gone."""
        known = self._known.get(session_id) or await self._learn(session_id)
        now = self._storage.clock()
        if known.is_due(now) and known.ttl is not None:
            patch = Patch(set={"expires_at": now + known.ttl})
            self.note(await self._storage.update_session(session_id, patch))

    async def _learn(self, session_id: str) -> _Known:
        session = await self._storage.get_session(session_id)
        if session is None:
            raise SessionNotFoundError(session_id)
        self.note(session)
        return self._known[session_id]
