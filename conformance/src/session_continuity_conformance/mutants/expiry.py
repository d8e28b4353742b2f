"""Mutants that treat the expiry of sessions wrongly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from session_continuity import (
    Appended,
    Message,
    Page,
    Patch,
    Session,
    SessionFilter,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-TTL-001", "U21")
class ServesExpiredSessions(Model):
    """get_session returns a session until the reaper removes it."""

    def get_session(self, session_id: str) -> Session | None:
        record = self.records.get(session_id)
        return None if record is None else record.session()


@breaks("SC-TTL-001", "U5")
class ServesMessagesOfExpiredSessions(Model):
    """get_message returns messages of an expired session."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        record = self.records.get(session_id)
        return super().get_message(session_id, message_id) if record is None else record.find(message_id)


@breaks("SC-TTL-001")
class ExpiresAMomentLate(Model):
    """A session still exists at the moment of expires_at."""

    def is_expired(self, record: SessionRecord, moment: datetime) -> bool:
        return super().is_expired(record, moment - timedelta(milliseconds=1))


@breaks("SC-TTL-002", "U21")
class ExpiredSessionTakesMessages(Model):
    """append_messages does not look at expires_at."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Any:
        record = self.records.get(session_id)
        if record is not None and self.find_live(session_id) is None:
            self.add(record, messages)
            return self.appended(messages, repeated=False)
        return super().append_messages(session_id, messages, **options)


@breaks("SC-TTL-002")
class ExpiredSessionCanBeExtended(Model):
    """update_session brings an expired session back to life."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        record = self.records.get(session_id)
        if record is not None and "expires_at" in patch.set:
            record.head = record.head.model_copy(update={"expires_at": None})
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-TTL-012")
class PastEndIsDropped(Model):
    """An expires_at in the past is treated as none."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        end = patch.set.get("expires_at")
        if end is not None and end <= self.clock():
            patch = Patch({**patch.set, "expires_at": None}, patch.clear)
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-TTL-003")
class ExpiresOnTheSecond(Model):
    """expires_at is cut to whole seconds, so sessions expire early."""

    def is_expired(self, record: SessionRecord, moment: datetime) -> bool:
        expires_at = record.head.expires_at
        return expires_at is not None and expires_at.replace(microsecond=0) <= moment


@breaks("SC-TTL-004")
class ExpiredSessionCannotBeDeleted(Model):
    """delete_session does not find an expired session, which stays for ever."""

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        if self.find_live(session_id) is None:
            return False
        return super().delete_session(session_id, expired_before=expired_before, **terms)


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
    """A session created over an expired one has its messages."""

    def create_session(self, session: Session) -> Session:
        old = self.records.get(session.id) if self.find_live(session.id) is None else None
        created = super().create_session(session)
        if old is not None:
            self.records[session.id].messages, self.records[session.id].places = old.messages, old.places
            created = self.records[session.id].session()
        return created


@breaks("SC-TTL-006")
class ExpiredIdIsTaken(Model):
    """create_session refuses the id of an expired session."""

    def create_session(self, session: Session) -> Session:
        record = self.records.get(session.id)
        if record is not None and self.find_live(session.id) is None:
            raise ValidationError("id is taken")
        return super().create_session(session)


@breaks("SC-TTL-007", "U38")
class MessagesKeepTheirFirstExpiry(Model):
    """Messages expire at the expires_at that their session had when they were written."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ends: dict[str, datetime] = {}

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        if record.head.expires_at is not None:
            self.ends.update(dict.fromkeys([message.id for message in batch], record.head.expires_at))

    def require(self, session_id: str) -> SessionRecord:
        record, now = super().require(session_id), self.clock()
        record.messages = [each for each in record.messages if each.id not in self.ends or self.ends[each.id] > now]
        return record


@breaks("SC-TTL-007")
class ExpiryIndexKeepsTheOldTime(Model):
    """get_expired_sessions finds a session by its first expires_at."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.index: dict[str, datetime] = {}

    def create_session(self, session: Session) -> Session:
        if session.expires_at is not None:
            self.index[session.id] = session.expires_at
        return super().create_session(session)

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        found = [name for name, end in self.index.items() if end <= before and name in self.records]
        del limit, cursor
        return Page(tuple(found))


@breaks("SC-TTL-008", "U10")
class UpdatedExpiryIsNotSeen(Model):
    """An expires_at set by an update is stored in a form that reads ignore."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.texts: set[str] = set()

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if "expires_at" in patch.set:
            self.texts.add(session_id)
        return super().update_session(session_id, patch, expected_version=expected_version)

    def is_expired(self, record: SessionRecord, moment: datetime) -> bool:
        return record.head.id not in self.texts and super().is_expired(record, moment)


@breaks("SC-TTL-009")
class FindsExpiryStrictly(Model):
    """get_expired_sessions leaves out sessions that expire exactly at the moment."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return super().get_expired_sessions(before - timedelta(milliseconds=1), limit=limit, cursor=cursor)


@breaks("SC-TTL-010")
class NewestExpiredFirst(Model):
    """get_expired_sessions returns the latest expiry first."""

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = super().get_expired_sessions(before, limit=limit, cursor=cursor)
        return Page(page.items[::-1], page.next_cursor)


@breaks("SC-TTL-011")
class AppendsSlideTheExpiry(Model):
    """Every append extends the session by an hour."""

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        if record.head.expires_at is not None:
            later = record.head.expires_at + timedelta(hours=1)
            record.head = record.head.model_copy(update={"expires_at": later})


@breaks("SC-TTL-013")
class NothingSlides(Model):
    """An append says that the session does not slide, because nobody looked."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        return replace(super().append_messages(session_id, messages, client_ids=client_ids, **terms), slides=False)
