"""Mutants whose append and what comes with it are not one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Appended,
    ConversationChangedError,
    Existing,
    Message,
    Patch,
    Session,
    SessionNotFoundError,
    messages_to_store,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-TRN-001")
class PatchKeepsTheVersion(Model):
    """The patch of an append does not raise the version."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        record = self.records.get(session_id)
        version = 1 if record is None else record.head.version
        appended = super().append_messages(session_id, messages, **terms)
        if terms.get("create") is None and record is not None:
            record.head = record.head.model_copy(update={"version": version})
        return appended


@breaks("SC-TRN-001")
class PatchOfAnAppendClearsNothing(Model):
    """The patch of an append sets fields, and clears none."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        if (patch := terms.get("patch")) is not None:
            terms["patch"] = Patch(patch.set)
        return super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-002")
class PatchesBeforeTheBatchIsAccepted(Model):
    """The session is patched, and then the append is checked."""

    def check_accepts(self, record: SessionRecord, messages: Sequence[Message]) -> None:
        before = record.head
        try:
            super().check_accepts(record, messages)
        except Exception:
            if self.patching is not None:
                record.head = self.patching.apply(before)
            raise

    patching: Patch | None = None

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        self.patching = terms.get("patch")
        try:
            return super().append_messages(session_id, messages, **terms)
        finally:
            self.patching = None


@breaks("SC-TRN-003")
class AppendExpectsNoVersion(Model):
    """An append ignores expected_version."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        terms.pop("expected_version", None)
        return super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-003")
class VersionCountsOnlyWithAPatch(Model):
    """An append without a patch ignores expected_version."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        if terms.get("patch") is None:
            terms.pop("expected_version", None)
        return super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-004")
class ExpectsAnyMessageOfTheSession(Model):
    """expected_last_id is met by any message of the session."""

    def check_last(self, record: SessionRecord, expected: str | None) -> None:
        if expected is None or record.find(expected) is None:
            super().check_last(record, expected)


@breaks("SC-TRN-004")
class RemembersADeletedLastMessage(Model):
    """The last message is the one that was appended last, also when it is gone."""

    def check_last(self, record: SessionRecord, expected: str | None) -> None:
        last = max(record.places, key=lambda each: record.places[each], default="")
        if expected is not None and last != expected:
            raise ConversationChangedError(record.head.id, expected_last_id=expected, last_id=last)


@breaks("SC-TRN-005")
class RepeatedTurnIsExpectedAgain(Model):
    """The conditions of a repeated append are checked again."""

    def to_store(self, stored: Sequence[Message | None], messages: Sequence[Message], existing: Existing) -> Any:
        new = super().to_store(stored, messages, existing)
        if not new and self.expected_last is not None:
            record = self.require(messages[0].session_id)
            self.check_last(record, self.expected_last)
        return new

    expected_last: str | None = None

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        self.expected_last = terms.get("expected_last_id")
        try:
            return super().append_messages(session_id, messages, **terms)
        finally:
            self.expected_last = None


@breaks("SC-TRN-005")
class RepeatedTurnIsPatchedAgain(Model):
    """A repeated append applies its patch again."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        appended = super().append_messages(session_id, messages, **terms)
        if appended.repeated:
            self.apply(self.require(session_id), terms.get("patch"))
        return appended


@breaks("SC-TRN-006")
class JudgesByThePatchedSession(Model):
    """The batch is judged by the session as it is after the patch."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        record = self.find_live(session_id)
        patch = terms.get("patch")
        if record is not None and patch is not None:
            self.check_accepts(SessionRecord(patch.apply(record.head), record.last_activity_at), messages)
        return super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-007")
class ChecksTheLastMessageThenAppends(ReferenceStorage):
    """expected_last_id is compared before the append, not together with it."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        expected = terms.pop("expected_last_id", None)
        if expected is not None:
            self.work("append_messages", lambda model: model.check_last(model.require(session_id), expected))
            await self.pause()
        return await super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-007")
class ChecksTheVersionThenAppends(ReferenceStorage):
    """expected_version is compared before the append, not together with it."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        expected = terms.pop("expected_version", None)
        if expected is not None:
            self.work("append_messages", lambda model: model.check_version(model.require(session_id), expected))
            await self.pause()
        return await super().append_messages(session_id, messages, **terms)


@breaks("SC-TRN-008")
class PatchesAfterTheAppend(ReferenceStorage):
    """The messages are stored first, and the session is patched in a second step."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        patch = terms.pop("patch", None)
        if patch is None or "create" in terms:
            return await super().append_messages(session_id, messages, patch=patch, **terms)
        appended = await super().append_messages(session_id, messages, **terms)
        if not appended.repeated:
            await self.pause()
            self.work("append_messages", lambda model: model.apply(model.require(session_id), patch))
        return appended


@breaks("SC-TRN-009")
class SkippingRefusesAnOverlap(Model):
    """existing='skip' is treated as 'refuse'."""

    def to_store(self, stored: Sequence[Message | None], messages: Sequence[Message], existing: Existing) -> Any:
        del existing
        return messages_to_store(stored, messages)


@breaks("SC-TRN-009")
class AnswersOnlyWhatWasMissing(Model):
    """With existing='skip', the result has only the messages that were missing."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        record = self.find_live(session_id)
        known = set[str]() if record is None else {message.id for message in record.messages}
        appended = super().append_messages(session_id, messages, **terms)
        if terms.get("existing") != "skip" or appended.repeated:
            return appended
        return self.appended([message for message in appended.messages if message.id not in known], repeated=False)


@breaks("SC-TRN-010")
class SkipsWhateverHasTheId(Model):
    """existing='skip' leaves out a message whose id belongs to another one."""

    def to_store(self, stored: Sequence[Message | None], messages: Sequence[Message], existing: Existing) -> Any:
        if existing == "refuse":
            return super().to_store(stored, messages, existing)
        return [new for old, new in zip(stored, messages, strict=True) if old is None]


@breaks("SC-TRN-011")
class CreatesWithoutThePatch(Model):
    """A session that an append creates is not patched."""

    def append_to_new(self, session: Session, messages: Sequence[Message], patch: Patch | None) -> Appended:
        del patch
        return super().append_to_new(session, messages, None)


@breaks("SC-TRN-011")
class CreatesOverAnExpiredSession(Model):
    """A session that an append creates keeps the messages of an expired one."""

    def append_to_new(self, session: Session, messages: Sequence[Message], patch: Patch | None) -> Appended:
        old = self.records.get(session.id)
        appended = super().append_to_new(session, messages, patch)
        if old is not None:
            self.records[session.id].messages[:0] = old.messages
        return appended


@breaks("SC-TRN-011")
class ReportsNoCreation(Model):
    """The result of an append does not say that it created the session."""

    def append_to_new(self, session: Session, messages: Sequence[Message], patch: Patch | None) -> Appended:
        return self.appended(super().append_to_new(session, messages, patch).messages, repeated=False)


@breaks("SC-TRN-012")
class CreateOverwritesTheSession(Model):
    """An append with create replaces the session's fields by those of create."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        record, create = self.find_live(session_id), terms.get("create")
        appended = super().append_messages(session_id, messages, **terms)
        if record is not None and create is not None:
            record.head = create
        return appended


@breaks("SC-TRN-013")
class CreatesBeforeTheBatchIsAccepted(Model):
    """The session is created, and then the batch is checked."""

    def append_to_new(self, session: Session, messages: Sequence[Message], patch: Patch | None) -> Appended:
        self.new_record(session)
        return super().append_to_new(session, messages, patch)


@breaks("SC-TRN-014")
class LooksThenCreatesOnAppend(ReferenceStorage):
    """Whether the session exists is found out before the append. If it appears meanwhile, the append is refused."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        exists = self.work("append_messages", lambda model: model.find_live(session_id) is not None)
        await self.pause()
        if terms.get("create") is not None and not exists:
            return self.work("append_messages", lambda model: self.create(model, session_id, messages, terms))
        return await super().append_messages(session_id, messages, **terms)

    def create(self, model: Model, session_id: str, messages: Sequence[Message], terms: Any) -> Appended:
        """Append to the session that was missing a moment ago."""
        if model.find_live(session_id) is not None:
            raise SessionNotFoundError(session_id)
        return model.append_messages(session_id, messages, **terms)


@breaks("SC-TRN-015")
class TakesContradictoryTerms(Model):
    """Terms that contradict each other are taken as they come."""

    def append_messages(self, session_id: str, messages: Sequence[Message], **terms: Any) -> Appended:
        if terms.get("create") is not None:
            terms.pop("expected_version", None)
            terms.pop("expected_last_id", None)
        return super().append_messages(session_id, messages, **terms)
