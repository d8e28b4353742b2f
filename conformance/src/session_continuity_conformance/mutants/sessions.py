"""Mutants that create, read, change or delete sessions wrongly."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from session_continuity import (
    Appended,
    Message,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionMetadata,
    is_repeated_create,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-SES-001", "U10")
class RoundsExpiryToSeconds(Model):
    """create_session stores expires_at in whole seconds."""

    def create_session(self, session: Session) -> Session:
        if session.expires_at is not None:
            session = session.model_copy(update={"expires_at": session.expires_at.replace(microsecond=0)})
        return super().create_session(session)


@breaks("SC-SES-001", "U18")
class LeaksKeyAttributes(Model):
    """The store's key attributes appear in the metadata of a returned session."""

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        if found is None or not found.metadata.custom:
            return found
        leaking = SessionMetadata.model_validate({**found.metadata.model_dump(), "PK": f"SESSION#{session_id}"})
        return found.model_copy(update={"metadata": leaking})


@breaks("SC-SES-002")
class KeepsPassedTotals(Model):
    """create_session stores message_count of the model that it gets."""

    def create_session(self, session: Session) -> Session:
        return super().create_session(session).model_copy(update={"message_count": session.message_count})


@breaks("SC-SES-003")
class StartsVersionAtOne(Model):
    """create_session starts every session at version 1."""

    def create_session(self, session: Session) -> Session:
        return super().create_session(session.model_copy(update={"version": 1}))


@breaks("SC-SES-004")
class CreateOverwrites(Model):
    """create_session replaces a session of the same id."""

    def create_session(self, session: Session) -> Session:
        self.records.pop(session.id, None)
        return super().create_session(session)


@breaks("SC-SES-004")
class TakesAnySameMomentForARepeat(Model):
    """create_session treats every session of the same millisecond as a repetition."""

    def create_session(self, session: Session) -> Session:
        record = self.find_live(session.id)
        if record is not None and record.head.created_at == session.created_at:
            return record.session()
        return super().create_session(session)


@breaks("SC-SES-005")
class RefusesRepeatedCreate(Model):
    """A repeated create is refused."""

    def create_session(self, session: Session) -> Session:
        record = self.find_live(session.id)
        if record is not None and is_repeated_create(record.session(), session):
            session = session.model_copy(update={"creation_token": None})
        return super().create_session(session)


@breaks("SC-SES-005")
class RepeatedCreateAnswersWithWhatWasSent(Model):
    """A repeated create returns the session as it was created, not as it is."""

    def create_session(self, session: Session) -> Session:
        super().create_session(session)
        return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})


@breaks("SC-SES-020")
class TakesAnEqualCreateForARepeat(Model):
    """create_session compares the time and the fields of the session, and not the token of the call."""

    def create_session(self, session: Session) -> Session:
        record = self.find_live(session.id)
        if record is not None:
            stored = record.session()
            token = {"creation_token": stored.creation_token}
            if stored == session.model_copy(update=token):
                return stored
        return super().create_session(session)


@breaks("SC-SES-006", "U41")
class ReadsWithoutTotals(Model):
    """get_session leaves the totals out."""

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        return None if found is None else found.model_copy(update={"message_count": 0, "token_count": 0})


@breaks("SC-SES-007", "U29")
class ReadsOwnCache(ReferenceStorage):
    """get_session of each adapter reads a cache."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.cache: dict[str, Session | None] = {}

    async def get_session(self, session_id: str) -> Session | None:
        if session_id not in self.cache:
            self.cache[session_id] = await super().get_session(session_id)
        return self.cache[session_id]

    async def create_session(self, session: Session) -> Session:
        self.cache.pop(session.id, None)
        return await super().create_session(session)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        self.cache.pop(session_id, None)
        return await super().update_session(session_id, patch, expected_version=expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        self.cache.pop(session_id, None)
        return await super().delete_session(session_id, expired_before=expired_before, **terms)

    async def append_messages(self, session_id: str, *args: Any, **options: Any) -> Appended:
        self.cache.pop(session_id, None)
        return await super().append_messages(session_id, *args, **options)


@breaks("SC-SES-008")
class WritesTheWholeSession(Model):
    """update_session resets the fields that the patch does not name."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        bare = Patch(dict(patch.set), patch.clear | ({"metadata"} - set(patch.set)))
        return super().update_session(session_id, bare, expected_version=expected_version)


@breaks("SC-SES-008")
class AnswersUpdateWithTheOldSession(Model):
    """update_session returns the session as it was before."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = self.require(session_id).session()
        super().update_session(session_id, patch, expected_version=expected_version)
        return before


@breaks("SC-SES-009", "U17")
class CannotClear(Model):
    """update_session skips the fields that the patch clears."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return super().update_session(session_id, Patch(patch.set), expected_version=expected_version)


@breaks("SC-SES-010")
class UpdateCountsAsActivity(Model):
    """update_session moves last_activity_at."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        self.require(session_id).last_activity_at = self.clock() + timedelta(seconds=1)
        return super().update_session(session_id, patch, expected_version=expected_version)


class _Upserts(Model):
    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if self.find_live(session_id) is None and self.upserts(expected_version):
            now = self.clock()
            ghost = Session(id=session_id, created_at=now, last_activity_at=now, version=expected_version or 1)
            self.records[session_id] = SessionRecord(ghost, now)
        return super().update_session(session_id, patch, expected_version=expected_version)

    def upserts(self, expected: int | None) -> bool:
        raise NotImplementedError


@breaks("SC-SES-011", "U2")
class UpdateCreatesGhost(_Upserts):
    """update_session of a missing session creates it."""

    def upserts(self, expected: int | None) -> bool:
        return expected is None


@breaks("SC-SES-011", "U3")
class VersionedUpdateRevives(_Upserts):
    """update_session with expected_version passes its condition on a missing session."""

    def upserts(self, expected: int | None) -> bool:
        return expected is not None


class _LeavesMessages(Model):
    """Deletes leave the last messages of a session to the next one with its id."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.remains: dict[str, SessionRecord] = {}

    def leaves(self, record: SessionRecord) -> list[Message]:
        raise NotImplementedError

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        record = self.records.get(session_id)
        if record is not None:
            record.messages = self.leaves(record)
            self.remains[session_id] = record
        return super().delete_session(session_id, expired_before=expired_before, **terms)

    def create_session(self, session: Session) -> Session:
        super().create_session(session)
        left = self.remains.pop(session.id, None)
        if left is not None:
            self.records[session.id].messages = left.messages
            self.records[session.id].places = left.places
            self.records[session.id].next_place = left.next_place
        return self.records[session.id].session()


@breaks("SC-SES-015")
class DeleteLeavesMessages(_LeavesMessages):
    """delete_session removes the session's row only."""

    def leaves(self, record: SessionRecord) -> list[Message]:
        return record.messages


@breaks("SC-SES-017", "U4")
class DeleteIgnoresUnprocessedItems(_LeavesMessages):
    """delete_session reports success although some messages were not processed."""

    def leaves(self, record: SessionRecord) -> list[Message]:
        return record.messages[100:]


@breaks("SC-SES-012")
class DeletedSessionStaysInExpiryIndex(Model):
    """delete_session leaves the session in the index of expiring sessions."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.index: dict[str, Session] = {}

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        record = self.records.get(session_id)
        if record is not None and record.head.expires_at is not None and record.head.user_id is not None:
            self.index[session_id] = record.head
        return super().delete_session(session_id, expired_before=expired_before, **terms)

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = super().get_expired_sessions(before, limit=limit, cursor=cursor)
        return Page((*page.items, *self.index), page.next_cursor)


@breaks("SC-SES-012")
class DeletedSessionKeepsReadableMessages(Model):
    """Messages of a deleted session can still be read by their ids."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows: dict[tuple[str, str], Message] = {}

    def add(self, record: SessionRecord, batch: Any) -> None:
        super().add(record, batch)
        self.rows.update({(record.head.id, message.id): message for message in batch})

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        if session_id not in self.records and (session_id, message_id) in self.rows:
            return self.rows[session_id, message_id]
        return super().get_message(session_id, message_id)


@breaks("SC-SES-012", "U7")
class GhostRowBlocksDelete(ReferenceStorage):
    """delete_session fails for ever on a session with messages."""

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        def blocked(model: Model) -> bool:
            record = model.records.get(session_id)
            if record is not None and record.messages:
                raise ValueError("Invalid time value")
            return model.delete_session(session_id, expired_before=expired_before, **terms)

        return self.work("delete_session", blocked)


@breaks("SC-SES-013")
class DeleteAlwaysSucceeds(Model):
    """delete_session returns True for a session that was not there."""

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        super().delete_session(session_id, expired_before=expired_before, **terms)
        return expired_before is None


@breaks("SC-SES-014")
class DeleteIgnoresItsCondition(Model):
    """delete_session removes a session that was extended since it was found."""

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        del expired_before, terms
        return super().delete_session(session_id)


@breaks("SC-SES-014")
class ConditionalDeleteTakesImmortals(Model):
    """delete_session with expired_before removes sessions that never expire."""

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None, **terms: Any) -> bool:
        record = self.records.get(session_id)
        immortal = record is not None and record.head.expires_at is None
        return super().delete_session(session_id, expired_before=None if immortal else expired_before, **terms)


@breaks("SC-SES-016", "U9", "U47")
class AppendsOrphans(Model):
    """append_messages to a missing session stores the message."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.orphans: dict[str, list[Message]] = {}

    def append_messages(self, session_id: str, messages: Any, **options: Any) -> Appended:
        if self.find_live(session_id) is None:
            self.orphans.setdefault(session_id, []).extend(messages)
        return super().append_messages(session_id, messages, **options)

    def create_session(self, session: Session) -> Session:
        super().create_session(session)
        record = self.records[session.id]
        orphans = self.orphans.pop(session.id, [])
        if orphans:
            self.add(record, orphans)
        return record.session()


@breaks("SC-SES-016")
class MissingSessionReadsEmpty(Model):
    """get_messages of a missing session returns an empty page."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if self.find_live(session_id) is None:
            return Page(())
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-SES-018")
class DeleteRacesAppends(ReferenceStorage):
    """append_messages checks the session before it stores, not together with it."""

    async def append_messages(self, session_id: str, messages: Any, **options: Any) -> Appended:
        record = self.work("append_messages", lambda model: model.require(session_id))
        await self.pause()

        def store(model: Model) -> Appended:
            model.records.setdefault(session_id, record)
            return model.append_messages(session_id, list(messages), **options)

        return self.work("append_messages", store)


@breaks("SC-SES-022")
class TellsEveryDelete(ReferenceStorage):
    """delete_session returns whether the session was there when it looked, before it deletes."""

    async def delete_session(self, session_id: str, **terms: Any) -> bool:
        was_there = self.work("delete_session", lambda model: session_id in model.records)
        await self.pause()
        await super().delete_session(session_id, **terms)
        return was_there


@breaks("SC-SES-021")
class DeletesAnyVersion(Model):
    """delete_session ignores expected_version."""

    def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        del expected_version
        return super().delete_session(session_id, expired_before=expired_before)
