"""Read, decide, write: changes that depend on what is there, repeated when somebody else was faster."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

from session_continuity.adapter import Patch, StorageAdapter
from session_continuity.errors import ConcurrencyError, SessionNotFoundError
from session_continuity.models import Session

__all__ = ["Change", "change_session"]

Change = Callable[[Session], Patch | None]
"""Says what to change of a session as it is, None for nothing; called again with the newer one after a conflict.
Pure."""

DEADLINE = 10.0
_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.5
_DOUBLINGS = 7


async def change_session(
    storage: StorageAdapter, session_id: str, change: Change, *, sleep: Callable[[float], Awaitable[None]]
) -> Session:
    """Make the change and return the session after it, or as it is where there is nothing to change.

    A conflict is retried with the session that the conflict reports, after a random wait that doubles its bound (full
    jitter). Raises SessionNotFoundError, and ConcurrencyError when others were faster for 10 seconds.
    """
    session = await _existing(storage, session_id)
    give_up = time.monotonic() + DEADLINE
    attempt = 0
    while (patch := change(session)) is not None:
        try:
            return await storage.update_session(session_id, patch, expected_version=session.version)
        except ConcurrencyError as conflict:
            attempt += 1
            if time.monotonic() >= give_up:
                conflict.add_note(f"gave up after {attempt} attempts in {DEADLINE:g} seconds")
                raise
            await sleep(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, _DOUBLINGS))))
            session = conflict.current or await _existing(storage, session_id)
    return session


async def _existing(storage: StorageAdapter, session_id: str) -> Session:
    session = await storage.get_session(session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    return session
