"""Mutants that list sessions wrongly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unicodedata import combining, normalize

from session_continuity import (
    Page,
    Session,
    SessionFilter,
    decode_cursor,
    encode_cursor,
    folded,
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

    def listing_key(self, session: Session, filter: SessionFilter) -> Key:
        moment, session_id = super().listing_key(session, filter)
        return moment, [-ord(character) for character in session_id]


@breaks("SC-LST-002")
class ListsByPrefixOfUser(Model):
    """A user's listing has the sessions of users whose id begins with the user's."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        if filter.user_id is None or not (session.user_id or "").startswith(filter.user_id):
            return filter.matches(session)
        return replace(filter, user_id=session.user_id).matches(session)


@breaks("SC-LST-003")
class ListsActiveSessionsOfAnAgent(Model):
    """An agent's listing has only active sessions."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        hidden = filter.active_agent_id is not None and filter.status is None and session.status != "active"
        return not hidden and filter.matches(session)


@breaks("SC-LST-004")
class ListsWithoutStatus(_OtherFilter):
    """A user's listing ignores the status."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        return replace(filter, status=None) if filter.user_id is not None and not filter.tags else filter


@breaks("SC-LST-005")
class TagsMustAllMatch(Model):
    """A listing by tags needs all of them."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
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
class IndexKeepsTheOldUser(Model):
    """A session stays in the listing of its first user."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.users: dict[str, str | None] = {}

    def create_session(self, session: Session) -> Session:
        self.users[session.id] = session.user_id
        return super().create_session(session)

    def selects(self, filter: SessionFilter, session: Session) -> bool:
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


@breaks("SC-LST-014")
class RecentListsByCreation(Model):
    """The order by activity is the order of creation."""

    def listing_key(self, session: Session, filter: SessionFilter) -> Key:
        return super().listing_key(session, replace(filter, order="newest"))


@breaks("SC-LST-014")
class ActivityOfTheLastMessageThatIsLeft(Model):
    """The order by activity goes back when the last message is deleted."""

    def listing_key(self, session: Session, filter: SessionFilter) -> Key:
        moment, session_id = super().listing_key(session, filter)
        messages = self.require(session.id).messages
        deleted = self.require(session.id).next_place > len(messages)
        if filter.is_by_activity and deleted:
            moment = format_timestamp(messages[-1].created_at if messages else session.created_at)
        return moment, session_id


@breaks("SC-LST-015")
class OldestListsIdsDownwards(Model):
    """With the oldest first, sessions of one moment are listed by id in descending order."""

    def listing_key(self, session: Session, filter: SessionFilter) -> Key:
        moment, session_id = super().listing_key(session, filter)
        return moment, [-ord(each) for each in session_id] if filter.order == "oldest" else session_id


@breaks("SC-LST-016")
class BehindIncludesThePlace(Model):
    """A listing behind a place begins with the session at that place."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        return super().selects(filter, session) or self.is_first(filter, session)

    def is_first(self, filter: SessionFilter, session: Session) -> bool:
        """Whether the session is at the place behind which the listing starts."""
        return filter.place_of(session) == filter.behind and replace(filter, behind=None).matches(session)


@breaks("SC-LST-016")
class BehindComparesTimesOnly(Model):
    """A listing behind a place leaves out every session of the same moment."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        same = filter.behind is not None and filter.place_of(session).moment == filter.behind.moment
        return super().selects(filter, session) and not same


@breaks("SC-LST-016")
class BehindNeedsItsSession(Model):
    """A listing behind a session that is gone begins at the beginning."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        gone = filter.behind is not None and filter.behind.id not in self.records
        return super().selects(replace(filter, behind=None) if gone else filter, session)


@breaks("SC-LST-017")
class TitleInAsciiCase(Model):
    """A title is compared without case for ASCII letters only."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        if filter.title is None:
            return super().selects(filter, session)
        title = (session.metadata.title or "").encode().lower()
        return filter.title.encode().lower() in title and super().selects(replace(filter, title=None), session)


@breaks("SC-LST-017")
class TitleIsAPattern(Model):
    """A percent sign in a title stands for anything."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        wanted = (filter.title or "").replace("%", "")
        return super().selects(replace(filter, title=wanted or None), session)


@breaks("SC-LST-017")
class TitleIgnoresAccents(Model):
    """A title with an accent meets the same text without it."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        if filter.title is None:
            return super().selects(filter, session)
        plain = "".join(each for each in normalize("NFD", folded(session.metadata.title or "")) if not combining(each))
        found = folded(filter.title) in plain and super().selects(replace(filter, title=None), session)
        return found or super().selects(filter, session)


@breaks("SC-LST-018")
class ActivityPagesByNumber(Model):
    """A further page by activity skips as many sessions as were returned, whatever moved meanwhile."""

    def listing_page(
        self, found: list[Session], filter: SessionFilter, limit: int, cursor: str | None
    ) -> Page[Session]:
        if not filter.is_by_activity:
            return super().listing_page(found, filter, limit, cursor)
        start = 0 if cursor is None else decode_cursor(cursor, bound_to=filter.key(), form=int)
        found.sort(key=filter.place_of, reverse=filter.is_downwards)
        end = start + limit
        more = encode_cursor(end, bound_to=filter.key()) if len(found) > end else None
        return Page(tuple(found[start:end]), more)


@breaks("SC-LST-019")
class ComparesTheBeginningOfTags(Model):
    """Tags are indexed by their first 1,000 characters."""

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        tags = [tag[:1000] for tag in session.metadata.tags]
        cut = session.model_copy(update={"metadata": session.metadata.model_copy(update={"tags": tags})})
        return super().selects(replace(filter, tags=frozenset(tag[:1000] for tag in filter.tags)), cut)
