"""Mutants that list sessions wrongly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from session_continuity import (
    Page,
    Session,
    SessionFilter,
    format_timestamp,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Key, Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


class _OtherFilter(Model):
    """Lists with another filter."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        raise NotImplementedError

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return super().list_sessions(self.other(filter), limit=limit, cursor=cursor)


@breaks("SC-LST-001")
class ListsOldestIdsFirst(Model):
    """Sessions of one moment are listed by id in ascending order."""

    def listing_key(self, session: Session) -> Key:
        return format_timestamp(session.created_at), [-ord(character) for character in session.id]


class _LooseFilter(Model):
    """Compares a field of the filter in another way."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        raise NotImplementedError

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        found = [record.session() for record in self.records.values() if not self.is_expired(record, self.clock())]
        found = [session for session in found if self.matches(filter, session)]
        found.sort(key=self.listing_key, reverse=True)
        return self.page(found, self.listing_key, limit, cursor, bound_to=filter.key(), downwards=True)


@breaks("SC-LST-002")
class ListsByPrefixOfUser(_LooseFilter):
    """A user's listing has the sessions of users whose id begins with the user's."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        if filter.user_id is None or not (session.user_id or "").startswith(filter.user_id):
            return filter.matches(session)
        return replace(filter, user_id=session.user_id).matches(session)


@breaks("SC-LST-003")
class ListsActiveSessionsOfAnAgent(_LooseFilter):
    """An agent's listing has only active sessions."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        hidden = filter.active_agent_id is not None and filter.status is None and session.status != "active"
        return not hidden and filter.matches(session)


@breaks("SC-LST-004")
class ListsWithoutStatus(_OtherFilter):
    """A user's listing ignores the status."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        return replace(filter, status=None) if filter.user_id is not None and not filter.tags else filter


@breaks("SC-LST-005")
class TagsMustAllMatch(_LooseFilter):
    """A listing by tags needs all of them."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        return filter.matches(session) and filter.tags.issubset(session.metadata.tags)


@breaks("SC-LST-006")
class CreatedAfterIncludesTheMoment(_OtherFilter):
    """created_after includes the moment itself."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        if filter.created_after is None:
            return filter
        return replace(filter, created_after=filter.created_after - timedelta(microseconds=1))


@breaks("SC-LST-006")
class LastMomentHasNoNext(_OtherFilter):
    """created_before is rounded up past the end of the calendar."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        if filter.created_before is None:
            return filter
        up = filter.created_before + timedelta(milliseconds=1) - timedelta(microseconds=1)
        return replace(filter, created_before=up.replace(microsecond=up.microsecond // 1000 * 1000))


@breaks("SC-LST-007")
class UserReplacesAgent(_OtherFilter):
    """With a user, the agent of a filter is ignored."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        return replace(filter, active_agent_id=None) if filter.user_id is not None else filter


@breaks("SC-LST-008", "U28", "U40")
class UnscopedListingCountsMessageRows(Model):
    """A listing without user and agent reads message rows as well and ends early."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = super().list_sessions(filter, limit=limit, cursor=cursor)
        rows = sum(len(record.messages) for record in self.records.values())
        scoped = filter.user_id is not None or filter.active_agent_id is not None
        return page if scoped or rows < 10 else Page(page.items[:3])


@breaks("SC-LST-009", "U44")
class IndexKeepsTheOldUser(_LooseFilter):
    """A session stays in the listing of its first user."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.users: dict[str, str | None] = {}

    def create_session(self, session: Session) -> Session:
        self.users[session.id] = session.user_id
        return super().create_session(session)

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        return filter.matches(session.model_copy(update={"user_id": self.users.get(session.id)}))


@breaks("SC-LST-010", "U44")
class ListsDeletedSessions(Model):
    """A deleted session stays in the user's listing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.leaked: list[SessionRecord] = []

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        record = self.records.get(session_id)
        deleted = super().delete_session(session_id, expired_before=expired_before, **terms)
        if deleted and record is not None:
            self.leaked.append(record)
        return deleted

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        record, self.records = self.records, {**{each.head.id: each for each in self.leaked}, **self.records}
        try:
            return super().list_sessions(filter, limit=limit, cursor=cursor)
        finally:
            self.records = record


@breaks("SC-LST-011")
class ListsWithoutParticipants(ReferenceStorage):
    """A listed session lacks its participants."""

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        return page.map(lambda session: session.model_copy(update={"participants": []}))


@breaks("SC-LST-013")
class ListsWithoutTotals(ReferenceStorage):
    """A listed session lacks its totals."""

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        return page.map(lambda session: session.model_copy(update={"message_count": 0}))


@breaks("SC-LST-012", "U29")
class ListingLagsOneWrite(ReferenceStorage):
    """The first listing after a creation lacks the new session."""

    newest: str | None = None

    async def create_session(self, session: Session) -> Session:
        created = await super().create_session(session)
        self.newest = session.id
        return created

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        newest, self.newest = self.newest, None
        return Page(tuple(session for session in page if session.id != newest), page.next_cursor)
