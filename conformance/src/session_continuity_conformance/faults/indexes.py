"""Check that what listings show of a session agrees with the session."""

from __future__ import annotations

from functools import partial

from session_continuity import SessionFilter, StorageAdapter
from session_continuity_conformance.checks import same
from session_continuity_conformance.store_fixture import FAR, StoreFixture

_FILTERS = (
    SessionFilter(user_id="user"),
    SessionFilter(user_id="mine"),
    SessionFilter(user_id="theirs"),
    SessionFilter(active_agent_id="mine"),
    SessionFilter(user_id="mine", tags=frozenset({"mine"})),
    SessionFilter(user_id="mine", status="paused"),
)
"""Those that the sessions of `faults.meetings` meet at some time."""


async def check_indexes(store: StoreFixture, adapter: StorageAdapter, session_id: str, what: str) -> None:
    """Check that every listing, the list of what expires, and that of the forks of its source have the session if they
    should, and only then."""
    session = await adapter.get_session(session_id)
    for conditions in _FILTERS:
        wanted = session is not None and conditions.matches(session)
        is_listed = partial(_is_listed, store, adapter, session_id, conditions)
        await store.settle(is_listed, wanted)
        same(f"whether list_sessions({conditions}) has the session after {what}", await is_listed(), wanted)
    expires = session is not None and session.expires_at is not None and session.expires_at <= FAR
    same(f"whether it is found as expiring after {what}", session_id in await store.expired_ids(FAR), expires)
    origin = None if session is None else session.forked_from
    if origin is not None:
        page = await adapter.list_forks(origin.session_id, limit=100)
        same(f"whether it is a fork of its source after {what}", session_id in {each.session_id for each in page}, True)


async def _is_listed(store: StoreFixture, adapter: StorageAdapter, session_id: str, conditions: SessionFilter) -> bool:
    found = await store.read_pages(lambda cursor: adapter.list_sessions(conditions, limit=100, cursor=cursor))
    return session_id in {session.id for session in found}
