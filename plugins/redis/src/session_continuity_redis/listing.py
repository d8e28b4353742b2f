"""`Listing`: lists of sessions. The index says which sessions to read. The sessions decide what is listed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from session_continuity import (
    ListingPlace,
    Page,
    Session,
    SessionFilter,
    decode_cursor,
    encode_cursor,
    listing_start,
)
from session_continuity_redis import codec
from session_continuity_redis.errors import FAILURES
from session_continuity_redis.index import Found, Index
from session_continuity_redis.keys import TIMESTAMP, entry_at, id_of, place_of
from session_continuity_redis.runner import ScriptRunner

MAX_ROUNDS = 10
"""How often a page looks at more entries, if too few sessions of the index match. It then ends early, with a cursor."""


class Listing:
    """The operations on many sessions. Entries that turn out to be wrong are repaired on the way."""

    def __init__(self, runner: ScriptRunner, index: Index) -> None:
        self._runner = runner
        self._index = index

    async def page(self, filter: SessionFilter, limit: int, cursor: str | None) -> Page[Session]:
        """One page of the sessions that match, in the order of the filter."""
        if self._runner.owner is not None:
            filter = replace(filter, user_id=self._runner.owner)
        start = listing_start(filter, cursor)
        after = None if start is None else entry_at(start)
        listed: dict[str, Session] = {}
        unreadable: list[str] = []
        for number in range(MAX_ROUNDS):
            missing = limit - len(listed)
            is_first = cursor is None and number == 0
            entries, after, found = await self._index.page(
                filter, after, missing, self._runner.scope(), is_first=is_first
            )
            listed.update((session.id, session) for session in await self._matching(filter, entries, found))
            unreadable += [id_of(entry) for entry in entries if id_of(entry) in found.unreadable]
            if after is None or len(listed) == limit:
                break
        more = None if after is None else encode_cursor(place_of(after), bound_to=filter.key())
        # A session may have become active between the look at the index and the one at the session.
        found_in_order = sorted(listed.values(), key=filter.place_of, reverse=filter.is_downwards)
        return Page(tuple(found_in_order), more, tuple(unreadable))

    async def expired(self, before: datetime, limit: int, cursor: str | None) -> Page[str]:
        """One page of the ids of expired sessions, the longest expired first."""
        after = "" if cursor is None else decode_cursor(cursor, bound_to="expired", form=str)
        ids, unreadable, last = await self.find_expired(before, limit, after)
        return Page(tuple(ids), None if last is None else encode_cursor(last, bound_to="expired"), tuple(unreadable))

    async def find_expired(self, before: datetime, limit: int, after: str) -> tuple[list[str], list[str], str | None]:
        """The ids of expired sessions, those that cannot be read, and the entry after which the next page begins."""
        entries, sampled = await self._index.expired(codec.not_after(before), after, limit)
        ids = [id_of(entry[TIMESTAMP + 1 :]) for entry in entries]
        found = await self._index.read([*dict.fromkeys([*ids, *sampled])], self._runner.scope_at(before))
        right = found.expired | found.unreadable | found.hidden
        wrong = found.gone | {session_id for session_id in ids if session_id not in right}
        if wrong:
            await self.try_to(self._index.repair, sorted(wrong))
        expired = [session_id for session_id in ids if session_id in found.expired]
        unreadable = [session_id for session_id in ids if session_id in found.unreadable]
        return expired, unreadable, entries[-1] if len(entries) == limit else None

    async def try_to(self, work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> None:
        """Do work that no result depends on. If it fails, as on a replica, a later call does it."""
        with suppress(*FAILURES):
            await work(*arguments)

    async def _matching(self, filter: SessionFilter, entries: list[str], found: Found) -> list[Session]:
        """The sessions of these entries that exist and match. Repairs entries of which the index was wrong: it knows
        neither titles nor places."""
        indexed = replace(filter, title=None, behind=None)
        matching: list[Session] = []
        wrong: list[str] = []
        for entry in entries:
            place = place_of(entry)
            session = found.sessions.get(place.id)
            is_right = session is not None and indexed.matches(session) and _stands_at(session, place, filter)
            if session is not None and is_right:
                matching += [session] if filter.matches(session) else []
            elif place.id not in found.expired and place.id not in found.unreadable:
                wrong.append(place.id)
        if wrong:
            await self.try_to(self._index.repair, wrong)
        return matching


def _stands_at(session: Session, place: ListingPlace, filter: SessionFilter) -> bool:
    """Whether the session is the one that an entry was written for. Its activity may have changed meanwhile."""
    return filter.is_by_activity or filter.place_of(session) == place
