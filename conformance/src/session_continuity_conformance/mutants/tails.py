"""Mutants that replace a tail wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from session_continuity import MessageNotFoundError, Replaced, SessionClosedError, ValidationError
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-TAIL-001")
class RemovesTheNamedMessageToo(Model):
    """replace_tail removes the message it should begin after."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        if replaced.removed_count > 1:
            record = self.require(session_id)
            record.messages = [message for message in record.messages if message.id != after_id]
        return replaced


@breaks("SC-TAIL-001")
class ReplacementIsAnUpdate(Model):
    """replace_tail raises the version."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        if not replaced.repeated and messages:
            record = self.require(session_id)
            record.head = record.head.model_copy(update={"version": record.head.version + 1})
        return replaced


@breaks("SC-TAIL-001")
class ActivityGoesBack(Model):
    """After replace_tail, last_activity_at is the time of the last message that is left."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        record = self.require(session_id)
        if record.messages and not messages:
            record.last_activity_at = record.messages[-1].created_at
        return replaced


@breaks("SC-TAIL-002")
class RemovesNothingFromAClosedSession(Model):
    """replace_tail without a batch is refused in a closed session."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        if record.head.status == "completed":
            raise SessionClosedError(session_id, record.head.status)
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-003")
class ReturnsTheRemovedBackwards(Model):
    """The removed messages are returned newest first."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        return replace(replaced, removed=replaced.removed[::-1])


@breaks("SC-TAIL-003")
class CountsNoRemoved(Model):
    """removed_count is 0 unless the messages were asked for."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        return replaced if messages or after_id is None else replace(replaced, removed_count=len(replaced.removed))


@breaks("SC-TAIL-004")
class UnknownMessageIsTheBeginning(Model):
    """replace_tail after an unknown message removes everything."""

    def end_of(self, record: SessionRecord, message_id: str | None, *, default: int) -> int:
        try:
            return super().end_of(record, message_id, default=default)
        except MessageNotFoundError:
            if default:
                raise
            return 0


@breaks("SC-TAIL-005")
class ExpectsNothingWhenItOnlyRemoves(Model):
    """expected_last_id is ignored without a batch."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        if not messages:
            options.pop("expected_last_id", None)
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-006")
class RemovesBeforeTheBatchIsAccepted(Model):
    """The tail is removed, and then the batch is checked."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        try:
            return super().replace_tail(session_id, after_id, messages, **options)
        except SessionClosedError:
            record.messages = record.messages[: self.end_of(record, after_id, default=0)]
            raise


@breaks("SC-TAIL-006")
class LimitCountsTheOldTail(Model):
    """The tokens of the old tail count against the limit."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        if messages and record.head.status == "active" and record.messages[-1].id != messages[-1].id:
            self.check_limit(record, messages)
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-007")
class RemovedIdsKeepTheirOrder(Model):
    """A batch cannot have several ids of removed messages in another order."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        tail = [message.id for message in record.messages[self.end_of(record, after_id, default=0) :]]
        used = [message.id for message in messages if message.id in tail]
        if used != [message_id for message_id in tail if message_id in used]:
            raise ValidationError("the ids are taken")
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-007")
class StoresAnIdTwice(Model):
    """The batch may use the id of a message that stays."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        kept = record.messages[: self.end_of(record, after_id, default=0)]
        new = [message for message in messages if message.id not in {each.id for each in kept}]
        return super().replace_tail(session_id, after_id, new, **options)


@breaks("SC-TAIL-008")
class RepeatedReplacementIsExpectedAgain(Model):
    """expected_last_id of a repeated replacement is checked again."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        self.check_last(self.require(session_id), options.get("expected_last_id"))
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-008")
class SameIdsAreTheSameTail(Model):
    """A tail whose first messages have the ids of the batch counts as the batch."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        record = self.require(session_id)
        start = self.end_of(record, after_id, default=0)
        stored = record.messages[start : start + len(messages)]
        if messages and [each.id for each in stored] == [each.id for each in messages]:
            return Replaced(messages=tuple(stored), repeated=True)
        return super().replace_tail(session_id, after_id, messages, **options)


@breaks("SC-TAIL-009")
class RemovesThenAppends(ReferenceStorage):
    """The tail is removed in one step, and the batch is appended in another."""

    async def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        if len(messages) < 3:
            return await super().replace_tail(session_id, after_id, messages, **options)
        removed = await super().replace_tail(session_id, after_id, (), **options)
        await self.pause()
        appended = await self.append_messages(session_id, messages)
        return replace(removed, messages=appended.messages)


@breaks("SC-TAIL-009")
class RemovesALongTailInParts(ReferenceStorage):
    """A tail of more than 25 messages is removed in parts."""

    async def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        while (cut := self.work("replace_tail", lambda model: self.place_to_cut(model, session_id))) is not None:
            await super().replace_tail(session_id, cut)
            await self.pause()
        return await super().replace_tail(session_id, after_id, messages, **options)

    def place_to_cut(self, model: Model, session_id: str) -> str | None:
        """The message after which the last 20 begin, None for a short conversation."""
        record = model.find_live(session_id)
        return None if record is None or len(record.messages) <= 25 else record.messages[-21].id


@breaks("SC-TAIL-010")
class KeepsAHalfOfWhatCameMeanwhile(ReferenceStorage):
    """What was appended while a tail is replaced stays without its first message."""

    async def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        known = self.work("replace_tail", lambda model: list(model.require(session_id).places))
        await self.pause()

        def replace_most(model: Model) -> Replaced:
            record = model.require(session_id)
            since = [message for message in record.messages if message.id not in known]
            replaced = model.replace_tail(session_id, after_id, messages, **options)
            if replaced.messages and since:
                model.add(record, since[1:])
            return replaced

        return self.work("replace_tail", replace_most)


@breaks("SC-TAIL-011")
class KeepsTheTimesOfANewTail(Model):
    """The batch of replace_tail keeps times that are before the messages it follows."""

    def replace_tail(self, session_id: str, after_id: str | None, messages: Any = (), **options: Any) -> Replaced:
        replaced = super().replace_tail(session_id, after_id, messages, **options)
        if replaced.repeated or not messages:
            return replaced
        record = self.require(session_id)
        record.messages[-len(messages) :] = messages
        record.places.update(zip((each.id for each in messages), range(record.next_place, 10**6), strict=False))
        record.next_place += len(messages)
        return replace(replaced, messages=tuple(messages))
