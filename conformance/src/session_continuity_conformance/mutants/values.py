"""Mutants that change the values they store."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

from session_continuity import (
    Message,
    MessageMetadata,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionMetadata,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


class _ChangesMessages(Model):
    """Changes messages before it stores them."""

    def changed(self, message: Message) -> Message:
        raise NotImplementedError

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, [self.changed(message) for message in batch])


class _ChangesSessions(Model):
    """Changes sessions before it stores them."""

    def changed(self, session: Session) -> Session:
        raise NotImplementedError

    def create_session(self, session: Session) -> Session:
        return super().create_session(self.changed(session))


@breaks("SC-SER-001", "U11", "U13")
class CannotStoreCompressionState(ReferenceStorage):
    """update_session fails on the time inside compression_state."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if "compression_state" in patch.set:
            raise TypeError("Unsupported type passed")
        return await super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-SER-001", "U19")
class ForgetsParticipantsTimes(Model):
    """left_at of a participant is not stored by an update."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if "participants" in patch.set:
            bare = [person.model_copy(update={"left_at": None}) for person in patch.set["participants"]]
            patch = Patch({**patch.set, "participants": bare}, patch.clear)
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-SER-002")
class DropsToolResults(_ChangesMessages):
    """Tool results that are null are not stored."""

    def changed(self, message: Message) -> Message:
        record = [result for result in message.metadata.tool_results if result.result is not None]
        metadata = message.metadata.model_copy(update={"tool_results": record})
        return message.model_copy(update={"metadata": metadata})


@breaks("SC-SER-003")
class NormalisesText(_ChangesMessages):
    """Text is changed to Unicode's composed form."""

    def changed(self, message: Message) -> Message:
        if not isinstance(message.content, str):
            return message
        return message.model_copy(update={"content": unicodedata.normalize("NFC", message.content)})


@breaks("SC-SER-003")
class GuessesJson(_ChangesMessages):
    """Text that looks like a JSON list is read back as one."""

    def changed(self, message: Message) -> Message:
        if isinstance(message.content, str) and message.content.startswith("["):
            return message.model_copy(update={"content": [{"type": "json", "value": json.loads(message.content)}]})
        return message


@breaks("SC-SER-003")
class CutsAtNul(_ChangesMessages):
    """Text is cut at a NUL."""

    def changed(self, message: Message) -> Message:
        if not isinstance(message.content, str):
            return message
        return message.model_copy(update={"content": message.content.partition("\x00")[0]})


@breaks("SC-SER-004")
class EmptyTitleIsNone(_ChangesSessions):
    """An empty title is stored as None."""

    def changed(self, session: Session) -> Session:
        metadata = session.metadata.model_copy(update={"title": session.metadata.title or None})
        return session.model_copy(update={"metadata": metadata})


@breaks("SC-SER-005")
class DropsNulls(_ChangesMessages):
    """Nulls inside annotations are dropped."""

    def changed(self, message: Message) -> Message:
        annotations = {name: value for name, value in message.metadata.annotations.items() if value is not None}
        metadata = message.metadata.model_copy(update={"annotations": annotations})
        return message.model_copy(update={"metadata": metadata})


def _whole(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


@breaks("SC-SER-006")
class WholeFloatsBecomeIntegers(_ChangesMessages):
    """1.0 comes back as 1."""

    def changed(self, message: Message) -> Message:
        document = json.loads(message.metadata.model_dump_json(), parse_float=_whole)
        metadata = MessageMetadata.model_validate(document)
        return message.model_copy(update={"metadata": metadata})


@breaks("SC-SER-006")
class IntegersBecomeFloats(_ChangesSessions):
    """Integers above 2^53 lose their last digits."""

    def changed(self, session: Session) -> Session:
        custom = json.loads(json.dumps(session.metadata.custom), parse_int=lambda text: int(float(text)))
        metadata = SessionMetadata.model_validate({**session.metadata.model_dump(), "custom": custom})
        return session.model_copy(update={"metadata": metadata})


@breaks("SC-SER-007")
class KeepsKnownBlocksOnly(_ChangesMessages):
    """Blocks of unknown type are reduced to their type."""

    def changed(self, message: Message) -> Message:
        if isinstance(message.content, str):
            return message
        blocks = [
            block if block["type"] in ("text", "image_url") else {"type": block["type"]} for block in message.content
        ]
        return message.model_copy(update={"content": blocks})


@breaks("SC-SER-008", "U12")
class KeepsSeconds(_ChangesMessages):
    """updated_at is kept in whole seconds."""

    def changed(self, message: Message) -> Message:
        if message.updated_at is None:
            return message
        return message.model_copy(update={"updated_at": message.updated_at.replace(microsecond=0)})


@breaks("SC-SER-009")
class SplitsIdsAtSeparators(Model):
    """A session id ends at its first # for lookups."""

    def find_live(self, session_id: str) -> SessionRecord | None:
        return super().find_live(session_id if session_id in self.records else session_id.partition("#")[0])

    def create_session(self, session: Session) -> Session:
        created = super().create_session(session)
        if session.id.startswith("SESSION#"):
            self.records[session.id.partition("#")[0]] = self.records.pop(session.id)
            self.records["SESSION"].head = self.records["SESSION"].head.model_copy(update={"id": "SESSION"})
        return created


@breaks("SC-SER-009")
class IgnoresCaseOfIds(Model):
    """Message ids are compared without case."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        record = self.require(session_id)
        return next((each for each in record.messages if each.id.lower() == message_id.lower()), None)


@breaks("SC-SER-010", "U46")
class HandsOutLiveSessions(ReferenceStorage):
    """get_session returns the stored object."""

    async def get_session(self, session_id: str) -> Session | None:
        return self.work("get_session", lambda model: model.get_session(session_id))


@breaks("SC-SER-010", "U46")
class KeepsCallersSession(ReferenceStorage):
    """create_session stores the caller's object."""

    async def create_session(self, session: Session) -> Session:
        return self.work("create_session", lambda model: model.create_session(session).model_copy(deep=True))


@breaks("SC-SER-011", "U46")
class HandsOutLiveMessages(ReferenceStorage):
    """get_messages returns the stored objects."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return self.work("get_messages", lambda model: model.get_messages(session_id, query, cursor=cursor))


@breaks("SC-SER-011")
class KeepsCallersPatch(ReferenceStorage):
    """update_message stores the caller's lists."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        def update(model: Model) -> Message:
            return model.update_message(session_id, message_id, patch).model_copy(deep=True)

        return self.work("update_message", update)
