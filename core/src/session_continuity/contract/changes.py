"""Changes of a session that depend on its present state: read, decide, write, and again after a conflict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.patch import Patch
from session_continuity.errors import ConcurrencyError, SessionNotFoundError
from session_continuity.models import Session
from session_continuity.runtime.backoff import backoff

__all__ = ["Change", "change_session"]

Change = Callable[[Session], Patch | None]
"""Returns the change of a session in its present state, or None for no change. Pure: it is called again after a
conflict, with the newer state."""

DEADLINE = 10.0  # seconds


async def change_session(
    storage: StorageAdapter,
    session_id: str,
    change: Change,
    *,
    sleep: Callable[[float], Awaitable[None]],
    known: Session | None = None,
) -> Session:
    """Make the change and return the session after it, or as it is if there is nothing to change.

    `known` is the session as it was read before; without it the session is read first. After a conflict the change is
    tried again on the newer session that the conflict reports. Raises SessionNotFoundError, and ConcurrencyError when
    others were faster for 10 seconds.
    """
    session = known or await _read(storage, session_id)
    lost: ConcurrencyError | None = None
    attempts = 0
    async for attempt in backoff(sleep, deadline=DEADLINE):
        if (patch := change(session)) is None:
            return session
        try:
            return await storage.update_session(session_id, patch, expected_version=session.version)
        except ConcurrencyError as conflict:
            lost, attempts = conflict, attempt
            session = conflict.current or await _read(storage, session_id)
    assert lost is not None  # backoff makes at least one attempt
    lost.add_note(f"gave up after {attempts} attempts in {DEADLINE:g} seconds")
    raise lost


async def _read(storage: StorageAdapter, session_id: str) -> Session:
    session = await storage.get_session(session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    return session
