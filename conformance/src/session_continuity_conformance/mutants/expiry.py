"""Mutants that treat expiry and listings wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from session_continuity import (
    Message,
    Page,
    Patch,
    Session,
    SessionFilter,
    ValidationError,
    format_timestamp,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Key, Model
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-TTL-001", "U21")
class ServesExpiredSessions(Model):
    """get_session serves a session until the reaper comes."""

    def get_session(self, session_id: str) -> Session | None:
        kept = self.kept.get(session_id)
        return None if kept is None else kept.session()


@breaks("SC-TTL-001", "U5")
class ServesMessagesOfExpiredSessions(Model):
    """Messages outlive their session."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        kept = self.kept.get(session_id)
        return super().get_message(session_id, message_id) if kept is None else kept.find(message_id)


@breaks("SC-TTL-001")
class ExpiresAMomentLate(Model):
    """A session is still there at the very moment of expires_at."""

    def is_expired(self, kept: Kept, moment: datetime) -> bool:
        return super().is_expired(kept, moment - timedelta(milliseconds=1))


@breaks("SC-TTL-002", "U21")
class ExpiredSessionTakesMessages(Model):
    """append_messages does not look at expires_at."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Any:
        kept = self.kept.get(session_id)
        if kept is not None and self.live(session_id) is None:
            self.add(kept, messages)
            return self.appended(kept, messages, repeated=False)
        return super().append_messages(session_id, messages, **options)


@breaks("SC-TTL-002")
class ExpiredSessionCanBeExtended(Model):
    """update_session brings an expired session back to life."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        kept = self.kept.get(session_id)
        if kept is not None and "expires_at" in patch.set:
            kept.head = kept.head.model_copy(update={"expires_at": None})
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-TTL-012")
class PastEndIsDropped(Model):
    """An expires_at that is past already is taken for none."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        end = patch.set.get("expires_at")
        if end is not None and end <= self.clock():
            patch = Patch({**patch.set, "expires_at": None}, patch.clear)
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-TTL-003")
class ExpiresOnTheSecond(Model):
    """expires_at is cut to whole seconds, so that sessions end early."""

    def is_expired(self, kept: Kept, moment: datetime) -> bool:
        expires_at = kept.head.expires_at
        return expires_at is not None and expires_at.replace(microsecond=0) <= moment


@breaks("SC-TTL-004")
class ExpiredSessionCannotBeDeleted(Model):
    """delete_session does not see an expired session, which stays for ever."""

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        if self.live(session_id) is None:
            return False
        return super().delete_session(session_id, expired_before=expired_before)


@breaks("SC-TTL-004", "U1", "U40")
class ExpirySweepFails(ReferenceStorage):
    """get_expired_sessions fails as soon as there is something to find."""

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = await super().get_expired_sessions(before, limit=limit, cursor=cursor)
        if page.items:
            raise RuntimeError("Attribute name is a reserved keyword; reserved keyword: ttl")
        return page


@breaks("SC-TTL-005", "U21")
class ListsExpiredSessions(Model):
    """Listings show expired sessions."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        clock, self.clock = self.clock, lambda: datetime.fromtimestamp(0, tz=clock().tzinfo)
        try:
            return super().list_sessions(filter, limit=limit, cursor=cursor)
        finally:
            self.clock = clock


@breaks("SC-TTL-006", "U5")
class OldMessagesReappear(Model):
    """A session created over an expired one inherits its messages."""

    def create_session(self, session: Session) -> Session:
        old = self.kept.get(session.id) if self.live(session.id) is None else None
        created = super().create_session(session)
        if old is not None:
            self.kept[session.id].messages, self.kept[session.id].places = old.messages, old.places
            created = self.kept[session.id].session()
        return created


@breaks("SC-TTL-006")
class ExpiredIdIsTaken(Model):
    """create_session refuses the id of an expired session."""

    def create_session(self, session: Session) -> Session:
        kept = self.kept.get(session.id)
        if kept is not None and self.live(session.id) is None:
            raise ValidationError("id is taken")
        return super().create_session(session)


@breaks("SC-TTL-007", "U38")
class MessagesKeepTheirFirstExpiry(Model):
    """Messages expire when their session would have when they were written."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ends: dict[str, datetime] = {}

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        if kept.head.expires_at is not None:
            self.ends.update(dict.fromkeys([message.id for message in turn], kept.head.expires_at))

    def needed(self, session_id: str) -> Kept:
        kept, now = super().needed(session_id), self.clock()
        kept.messages = [each for each in kept.messages if each.id not in self.ends or self.ends[each.id] > now]
        return kept


@breaks("SC-TTL-007")
class ExpiryIndexKeepsTheOldTime(Model):
    """get_expired_sessions finds a session by the expiry that it had first."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.index: dict[str, datetime] = {}

    def create_session(self, session: Session) -> Session:
        if session.expires_at is not None:
            self.index[session.id] = session.expires_at
        return super().create_session(session)

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        found = [name for name, end in self.index.items() if end <= before and name in self.kept]
        del limit, cursor
        return Page(tuple(found))


@breaks("SC-TTL-008", "U10")
class UpdatedExpiryIsNotSeen(Model):
    """An expires_at set by an update is stored in a form that no read understands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.texts: set[str] = set()

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if "expires_at" in patch.set:
            self.texts.add(session_id)
        return super().update_session(session_id, patch, expected_version=expected_version)

    def is_expired(self, kept: Kept, moment: datetime) -> bool:
        return kept.head.id not in self.texts and super().is_expired(kept, moment)


@breaks("SC-TTL-009")
class FindsExpiryStrictly(Model):
    """get_expired_sessions leaves out what expires at the moment itself."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return super().get_expired_sessions(before - timedelta(milliseconds=1), limit=limit, cursor=cursor)


@breaks("SC-TTL-010")
class NewestExpiredFirst(Model):
    """get_expired_sessions gives the latest expiry first."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = super().get_expired_sessions(before, limit=limit, cursor=cursor)
        return Page(page.items[::-1], page.next_cursor)


@breaks("SC-TTL-011")
class AppendsSlideTheExpiry(Model):
    """Every append extends the session by an hour."""

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        if kept.head.expires_at is not None:
            later = kept.head.expires_at + timedelta(hours=1)
            kept.head = kept.head.model_copy(update={"expires_at": later})


class _OtherFilter(Model):
    """Lists by another filter."""

    def other(self, filter: SessionFilter) -> SessionFilter:
        raise NotImplementedError

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return super().list_sessions(self.other(filter), limit=limit, cursor=cursor)


@breaks("SC-LST-001")
class ListsOldestIdsFirst(Model):
    """Sessions of one moment are listed by id upwards."""

    def listing_key(self, session: Session) -> Key:
        return format_timestamp(session.created_at), [-ord(character) for character in session.id]


class _LooseFilter(Model):
    """Compares one field of a filter loosely."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        raise NotImplementedError

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        found = [kept.session() for kept in self.kept.values() if not self.is_expired(kept, self.clock())]
        found = [session for session in found if self.matches(filter, session)]
        found.sort(key=self.listing_key, reverse=True)
        return self.page(found, self.listing_key, limit, cursor, bound_to=filter.key(), downwards=True)


@breaks("SC-LST-002")
class ListsByPrefixOfUser(_LooseFilter):
    """A user's listing holds the sessions of users whose id begins with theirs."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        if filter.user_id is None or not (session.user_id or "").startswith(filter.user_id):
            return filter.matches(session)
        return replace(filter, user_id=session.user_id).matches(session)


@breaks("SC-LST-003")
class ListsActiveSessionsOfAnAgent(_LooseFilter):
    """An agent's listing holds its active sessions only."""

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
    """created_before is rounded up to a millisecond in a way that passes the end of the calendar."""

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
        rows = sum(len(kept.messages) for kept in self.kept.values())
        scoped = filter.user_id is not None or filter.active_agent_id is not None
        return page if scoped or rows < 10 else Page(page.items[:3])


@breaks("SC-LST-009", "U44")
class IndexKeepsTheOldUser(_LooseFilter):
    """A session stays in the listing of the user that it had first."""

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
        self.leaked: list[Kept] = []

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        kept = self.kept.get(session_id)
        deleted = super().delete_session(session_id, expired_before=expired_before)
        if deleted and kept is not None:
            self.leaked.append(kept)
        return deleted

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        kept, self.kept = self.kept, {**{each.head.id: each for each in self.leaked}, **self.kept}
        try:
            return super().list_sessions(filter, limit=limit, cursor=cursor)
        finally:
            self.kept = kept


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
    """A listing lacks the newest session when it is asked for the first time after its creation."""

    newest: str | None = None

    async def create_session(self, session: Session) -> Session:
        created = await super().create_session(session)
        self.newest = session.id
        return created

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        newest, self.newest = self.newest, None
        return Page(tuple(session for session in page if session.id != newest), page.next_cursor)


@breaks("SC-PAG-001", "U15")
class ListsLimitBeforeFilter(Model):
    """list_sessions applies the limit before tags and status, and takes a short page for the last."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        if filter.status is None and not filter.tags:
            return super().list_sessions(filter, limit=limit, cursor=cursor)
        page = super().list_sessions(replace(filter, status=None, tags=frozenset()), limit=limit)
        return Page(tuple(session for session in page if filter.matches(session)))


@breaks("SC-PAG-002")
class ListingCursorIsAnOffset(Model):
    """The cursor of list_sessions is a number of rows."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        whole = super().list_sessions(filter, limit=1000)
        places = {session.id: place for place, session in enumerate(whole)}
        return self.page(list(whole), lambda session: (places[session.id],), limit, cursor, bound_to=filter.key())


@breaks("SC-PAG-003")
class LimitZeroMeansAll(Model):
    """list_sessions with limit 0 gives everything."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return super().list_sessions(filter, limit=limit or 1000, cursor=cursor)


@breaks("SC-PAG-003")
class SweepTakesAnyLimit(Model):
    """get_expired_sessions takes limits over 1000."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return super().get_expired_sessions(before, limit=min(limit, 1000), cursor=cursor)


@breaks("SC-PAG-004")
class ListingCursorFitsAnyFilter(_LooseFilter):
    """list_sessions takes cursors of other filters."""

    def matches(self, filter: SessionFilter, session: Session) -> bool:
        return filter.matches(session)

    def page(self, *args: Any, bound_to: str, **options: Any) -> Page[Any]:
        del bound_to
        return super().page(*args, bound_to="any", **options)


@breaks("SC-PAG-008")
class SweepSeesTheFirstPageOnly(Model):
    """get_expired_sessions gives no cursor."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return Page(super().get_expired_sessions(before, limit=limit, cursor=cursor).items)


@breaks("SC-PAG-009", "U14")
class ListingEndsAtAMegabyte(Model):
    """list_sessions takes the end of the store's own page for the end of the listing."""

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        page = super().list_sessions(filter, limit=limit, cursor=cursor)
        size, found = 0, list[Session]()
        for session in page:
            size += len(session.model_dump_json())
            if size > 1_000_000:
                return Page(tuple(found))
            found.append(session)
        return page
