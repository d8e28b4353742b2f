"""Mutants that fork wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Fork,
    Message,
    MessageNotFoundError,
    Page,
    Patch,
    Session,
    SessionNotFoundError,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-FORK-001")
class CopiesTheNextMessageToo(Model):
    """A fork has one message more than it should."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        source = self.require(source_id)
        before = self.find_live(session.id)
        created = super().fork_session(source_id, session, through_id=through_id)
        copied = self.end_of(source, through_id, default=len(source.messages))
        if before is None and 1 < copied < len(source.messages):
            self.add(self.require(session.id), [self.copied(source.messages[copied], session.id)])
        return created


@breaks("SC-FORK-001")
class CopiesAreMintedAgain(Model):
    """The messages of a fork have new ids."""

    def copied(self, message: Message, session_id: str) -> Message:
        copy = super().copied(message, session_id)
        return move_to(copy.created_at, [copy], client_ids=())[0] if copy.metadata.tool_calls else copy


@breaks("SC-FORK-001")
class CopiesBelongToTheSource(Model):
    """The messages of a fork name the source as their session."""

    def copied(self, message: Message, session_id: str) -> Message:
        copy = super().copied(message, session_id)
        return copy.model_copy(update={"session_id": message.session_id}) if copy.role == "system" else copy


@breaks("SC-FORK-002")
class ForkLosesItsLineage(Model):
    """An update clears forked_from."""

    def apply(self, record: SessionRecord, patch: Patch | None) -> None:
        super().apply(record, patch)
        record.head = record.head.model_copy(update={"forked_from": None})


@breaks("SC-FORK-003")
class CopiesTheFirst50(Model):
    """A fork has at most 50 messages."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        is_new = self.find_live(session.id) is None
        created = super().fork_session(source_id, session, through_id=through_id)
        if through_id is None and is_new and created.message_count > 50:
            record = self.require(session.id)
            record.messages = record.messages[:50]
            return record.session()
        return created


@breaks("SC-FORK-004")
class ForkSharesAnEdit(Model):
    """An edit of a message changes it in the sessions that were forked through it too."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        changed = super().update_message(session_id, message_id, patch)
        number = self.require(session_id).number
        for record in self.records.values():
            if record.source == number and record.find(message_id) is not None:
                super().update_message(record.head.id, message_id, patch)
        return changed


@breaks("SC-FORK-004")
class ForkDiesWithItsSource(Model):
    """Deleting a session deletes its forks' messages."""

    def delete_session(self, session_id: str, **options: Any) -> bool:
        record = self.records.get(session_id)
        for other in self.records.values():
            if record is not None and other.source == record.number and len(other.messages) > 1:
                other.messages = []
        return super().delete_session(session_id, **options)


@breaks("SC-FORK-005")
class ForksThroughAnUnknownMessage(Model):
    """A fork through an unknown message has all messages."""

    def end_of(self, record: SessionRecord, message_id: str | None, *, default: int) -> int:
        try:
            return super().end_of(record, message_id, default=default)
        except MessageNotFoundError:
            if not default:
                raise
            return default


@breaks("SC-FORK-005")
class ForkOfNothingIsCreated(Model):
    """A fork of a missing session leaves an empty session."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        if self.find_live(source_id) is None:
            self.create_session(session)
        return super().fork_session(source_id, session, through_id=through_id)


@breaks("SC-FORK-006")
class RepeatedForkIsCopiedAgain(Model):
    """A repeated fork begins again, without what happened to the first."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        existing = self.find_live(session.id)
        if existing is not None and existing.head.forked_from == session.forked_from:
            del self.records[session.id]
        return super().fork_session(source_id, session, through_id=through_id)


@breaks("SC-FORK-006")
class TakesOverAnotherSession(Model):
    """A fork replaces a session that has its id."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        existing = self.find_live(session.id)
        if existing is not None and existing.head.forked_from is None:
            del self.records[session.id]
        return super().fork_session(source_id, session, through_id=through_id)


@breaks("SC-FORK-007")
class ListsForksNewestFirst(Model):
    """list_forks returns the newest fork first."""

    def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        page = super().list_forks(source_id, limit=limit, cursor=cursor)
        return Page(page.items[::-1], page.next_cursor)


@breaks("SC-FORK-007")
class ListsForksOfForks(Model):
    """list_forks returns the forks of forks too."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        created = super().fork_session(source_id, session, through_id=through_id)
        record, source = self.require(session.id), self.require(source_id)
        if source.source is not None:
            record.source = source.source
        return created


@breaks("SC-FORK-008")
class NewSessionInheritsForks(Model):
    """A new session has the forks of an earlier one with the same id."""

    def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        for record in self.records.values():
            origin = record.head.forked_from
            if origin is not None and origin.session_id == source_id:
                record.source = self.require(source_id).number
        return super().list_forks(source_id, limit=limit, cursor=cursor)


@breaks("SC-FORK-008")
class ForksOfNoSessionAreNone(Model):
    """list_forks of a missing session returns an empty page."""

    def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        try:
            return super().list_forks(source_id, limit=limit, cursor=cursor)
        except SessionNotFoundError:
            return Page(())


@breaks("SC-FORK-009")
class ForkAppearsBeforeItIsComplete(ReferenceStorage):
    """The session of a fork is created first, and its messages are copied afterwards."""

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        created = await super().fork_session(source_id, session, through_id=through_id)
        hidden = self.work("fork_session", lambda model: self.hide(model, session.id))
        await self.pause()

        def show(model: Model) -> None:
            model.require(session.id).messages[len(model.require(session.id).messages) :] = hidden

        self.work("fork_session", show)
        return created

    def hide(self, model: Model, session_id: str) -> Sequence[Message]:
        """Take the end of a long conversation away, and return it."""
        record = model.require(session_id)
        hidden = record.messages[20:]
        del record.messages[20:]
        return hidden


@breaks("SC-FORK-010")
class ForkIsNotFoundById(Model):
    """The messages of a fork cannot be removed by their ids."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        record = self.require(session_id)
        if record.source is not None and message_id in list(record.places)[: len(record.messages)]:
            return False
        return super().delete_message(session_id, message_id)


@breaks("SC-FORK-010")
class LimitRefusesTheCopies(Model):
    """A fork whose copies exceed its own hard limit is refused."""

    def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        source = self.require(source_id)
        copied = source.messages[: self.end_of(source, through_id, default=len(source.messages))]
        self.check_limit(SessionRecord(session, session.last_activity_at), copied)
        return super().fork_session(source_id, session, through_id=through_id)
