"""The most recently active sessions of a user, from any store."""

from __future__ import annotations

from functools import partial

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import Page, check_span, collect
from session_continuity.contract.queries import SessionFilter
from session_continuity.models import Session
from session_continuity.runtime.gathering import gather

__all__ = ["recent_sessions"]


async def recent_sessions(storage: StorageAdapter, user_id: str, limit: int) -> Page[Session]:
    """A page of the user's sessions, the most recently active first, without a cursor. Their totals are current."""
    check_span(limit, None)
    if storage.capabilities.activity_listing:
        page = await _sessions(storage, SessionFilter(user_id=user_id, order="recent"), limit)
        return Page(page.items, None, page.unreadable)
    page = await _sessions(storage, SessionFilter(user_id=user_id), None)
    found = await _with_totals(storage, page) if page.stale_totals else list(page)
    found.sort(key=SessionFilter(order="recent").place_of, reverse=True)
    return Page(tuple(found[:limit]), None, page.unreadable)


async def _sessions(storage: StorageAdapter, wanted: SessionFilter, limit: int | None) -> Page[Session]:
    return await collect(lambda size, start: storage.list_sessions(wanted, limit=size, cursor=start), limit, None)


async def _with_totals(storage: StorageAdapter, page: Page[Session]) -> list[Session]:
    """The sessions of the page as they are now, without those that are gone or belong to another user by now."""
    reads = [partial(storage.get_session, session.id) for session in page]
    current = await gather(storage.mode, reads)
    pairs = zip(page, current, strict=True)
    return [now for listed, now in pairs if now is not None and now.user_id == listed.user_id]
