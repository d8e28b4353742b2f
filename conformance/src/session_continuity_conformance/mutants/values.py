"""Mutants that change values, mix namespaces, or misbehave as objects."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from session_continuity import (
    Appended,
    HealthStatus,
    Message,
    MessageMetadata,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionClosedError,
    SessionMetadata,
    SessionNotFoundError,
    StorageError,
    ValidationError,
    utc_now,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.reference.storage import ReferenceStorage, World


class _ChangesMessages(Model):
    """Stores something else than the message it is given."""

    def changed(self, message: Message) -> Message:
        raise NotImplementedError

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, [self.changed(message) for message in turn])


class _ChangesSessions(Model):
    """Stores something else than the session it is given."""

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
        kept = [result for result in message.metadata.tool_results if result.result is not None]
        metadata = message.metadata.model_copy(update={"tool_results": kept})
        return message.model_copy(update={"metadata": metadata})


@breaks("SC-SER-003")
class NormalisesText(_ChangesMessages):
    """Text is brought to Unicode's composed form."""

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
    """Text ends at a NUL."""

    def changed(self, message: Message) -> Message:
        if not isinstance(message.content, str):
            return message
        return message.model_copy(update={"content": message.content.partition("\x00")[0]})


@breaks("SC-SER-004")
class EmptyTitleIsNone(_ChangesSessions):
    """An empty title is stored as none."""

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
        told = json.loads(message.metadata.model_dump_json(), parse_float=_whole)
        metadata = MessageMetadata.model_validate(told)
        return message.model_copy(update={"metadata": metadata})


@breaks("SC-SER-006")
class IntegersBecomeFloats(_ChangesSessions):
    """Integers over 2^53 lose their last digits."""

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

    def live(self, session_id: str) -> Kept | None:
        return super().live(session_id if session_id in self.kept else session_id.partition("#")[0])

    def create_session(self, session: Session) -> Session:
        created = super().create_session(session)
        if session.id.startswith("SESSION#"):
            self.kept[session.id.partition("#")[0]] = self.kept.pop(session.id)
            self.kept["SESSION"].head = self.kept["SESSION"].head.model_copy(update={"id": "SESSION"})
        return created


@breaks("SC-SER-009")
class IgnoresCaseOfIds(Model):
    """Message ids are compared without case."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        kept = self.needed(session_id)
        return next((each for each in kept.messages if each.id.lower() == message_id.lower()), None)


@breaks("SC-SER-010", "U46")
class HandsOutLiveSessions(ReferenceStorage):
    """get_session hands out the stored object itself."""

    async def get_session(self, session_id: str) -> Session | None:
        return self.work("get_session", lambda model: model.get_session(session_id))


@breaks("SC-SER-010", "U46")
class KeepsGivenSession(ReferenceStorage):
    """create_session keeps the caller's own object."""

    async def create_session(self, session: Session) -> Session:
        return self.work("create_session", lambda model: model.create_session(session).model_copy(deep=True))


@breaks("SC-SER-011", "U46")
class HandsOutLiveMessages(ReferenceStorage):
    """get_messages hands out the stored objects themselves."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return self.work("get_messages", lambda model: model.get_messages(session_id, query, cursor=cursor))


@breaks("SC-SER-011")
class KeepsGivenPatch(ReferenceStorage):
    """update_message keeps the caller's own lists."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        def update(model: Model) -> Message:
            return model.update_message(session_id, message_id, patch).model_copy(deep=True)

        return self.work("update_message", update)


@breaks("SC-ISO-004")
class NamespacesShareExpiry(ReferenceStorage):
    """get_expired_sessions finds sessions of every namespace."""

    async def get_expired_sessions(self, before: Any, *, limit: int, cursor: str | None = None) -> Page[str]:
        page = await super().get_expired_sessions(before, limit=limit, cursor=cursor)
        with self.world.lock:
            others = [
                name
                for namespace, model in self.world.models.items()
                if namespace != self.namespace
                for name, kept in model.kept.items()
                if model.is_expired(kept, before)
            ]
        return Page((*page.items, *others), page.next_cursor)


@breaks("SC-ISO-004")
class NamespaceIsIgnored(ReferenceStorage):
    """Every namespace is the same."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        del namespace
        super().__init__(world, "", mode)


@breaks("SC-ISO-006")
class NamespaceIsCut(ReferenceStorage):
    """A namespace ends at its first colon."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        super().__init__(world, namespace.partition(":")[0], mode)


@breaks("SC-ISO-005")
class DeletesByPrefix(Model):
    """delete_session removes every session whose id begins with the given one."""

    def delete_session(self, session_id: str, *, expired_before: Any = None) -> bool:
        deleted = super().delete_session(session_id, expired_before=expired_before)
        if deleted:
            for other in [name for name in self.kept if name.startswith(session_id)]:
                self.kept[other].messages.clear()
        return deleted


@breaks("SC-ISO-005")
class DeletesMessagesByPattern(Model):
    """delete_message takes * for a pattern."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        if message_id == "*":
            return self.delete_all_messages(session_id) > 0
        return super().delete_message(session_id, message_id)


@breaks("SC-ERR-001", "U30", "U42")
class RefusalIsAStorageError(ReferenceStorage):
    """A closed session surfaces as a general failure of the store."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        try:
            return await super().append_messages(session_id, messages, **options)
        except SessionClosedError as error:
            raise StorageError("failed to append", backend=self.backend, operation="append_messages") from error


@breaks("SC-ERR-002", "U30")
class WrapsItsOwnErrors(ReferenceStorage):
    """An error of the project is chained as the cause of the same error."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        try:
            return await super().update_message(session_id, message_id, patch)
        except MessageNotFoundError as error:
            raise MessageNotFoundError(session_id, message_id) from error


@breaks("SC-SEC-001")
class QuotesContentInErrors(ReferenceStorage):
    """The refusal of a taken id quotes the message."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        try:
            return await super().append_messages(session_id, messages, **options)
        except ValidationError as error:
            raise ValidationError(f"{error}: {messages[0].content}") from None


@breaks("SC-SEC-002")
class ShowsItsPassword(ReferenceStorage):
    """health tells the password of the connection."""

    async def health(self) -> HealthStatus:
        self.work("health", lambda _: None)
        return HealthStatus(status="healthy", details={"url": "reference://user:reference-password@host"})


@breaks("SC-CFG-001")
class AlwaysSaysBlocking(ReferenceStorage):
    """The adapter calls itself blocking whatever it was opened for."""

    def __init__(self, world: World, namespace: str, mode: Any) -> None:
        super().__init__(world, namespace, "blocking" if mode == "async" else "async")


@breaks("SC-CFG-002")
class CapabilitiesChange(ReferenceStorage):
    """Every adapter declares something else."""

    count = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        type(self).count += 1
        self.capabilities = replace(self.declared, max_message_bytes=100_000 + self.count)


@breaks("SC-CFG-003")
class NaiveClock(ReferenceStorage):
    """The clock reads local time without a zone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.clock = lambda: utc_now().replace(tzinfo=None)


@breaks("SC-CFG-004")
class NamesNobody(ReferenceStorage):
    """backend is empty."""

    backend = ""


@breaks("SC-LIF-001")
class ServesAfterClose(ReferenceStorage):
    """health still answers after close."""

    async def health(self) -> HealthStatus:
        return HealthStatus(status="healthy")


@breaks("SC-LIF-001")
class ClosedIsNotFound(ReferenceStorage):
    """After close, messages are not found."""

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        if self.closed:
            raise SessionNotFoundError(session_id)
        return await super().get_message(session_id, message_id)


@breaks("SC-LIF-002")
class SecondCloseFails(ReferenceStorage):
    """close fails when called again."""

    async def close(self) -> None:
        self.work("close", lambda _: None)
        await super().close()


@breaks("SC-LIF-003")
class CloseClosesAll(ReferenceStorage):
    """close wipes what all adapters share."""

    async def close(self) -> None:
        if not self.closed:
            with self.world.lock:
                self.world.models.clear()
        await super().close()


@breaks("SC-LIF-004")
class SetupStartsOver(ReferenceStorage):
    """setup drops what is there."""

    async def setup(self) -> None:
        await super().setup()
        with self.world.lock:
            self.world.models.pop(self.namespace, None)


@breaks("SC-LIF-005", "U23")
class HealthIsDegradedUnderLoad(ReferenceStorage):
    """health calls a serving store degraded as soon as it holds something."""

    async def health(self) -> HealthStatus:
        return self.work("health", lambda model: HealthStatus(status="degraded" if model.kept else "healthy"))


@breaks("SC-LIF-006")
class SuspendsInBlockingMode(ReferenceStorage):
    """get_messages awaits something real in blocking mode."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        await _Suspension()
        return await super().get_messages(session_id, query, cursor=cursor)


class _Suspension:
    def __await__(self) -> Any:
        yield None


@breaks("SC-LIF-007")
class LeavesAThread(ReferenceStorage):
    """health starts a thread that close does not end."""

    async def health(self) -> HealthStatus:
        status = await super().health()
        threading.Thread(target=threading.Event().wait, args=(2.0,), name="left-behind").start()
        return status


@breaks("SC-LIF-008")
class ForgetsAtClose(ReferenceStorage):
    """Sessions are gone after close, though the store declares to be durable."""

    async def close(self) -> None:
        if not self.closed:
            with self.world.lock:
                self.world.models.pop(self.namespace, None)
        await super().close()
