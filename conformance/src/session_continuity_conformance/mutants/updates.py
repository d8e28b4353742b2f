"""Mutants that lose updates, or count them wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from session_continuity import (
    ConcurrencyError,
    Message,
    Patch,
    Session,
    SessionExistsError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-OCC-001", "U22")
class VersionStays(Model):
    """update_session does not change the version."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = self.require(session_id).head.version
        super().update_session(session_id, patch, expected_version=expected_version)
        record = self.require(session_id)
        record.head = record.head.model_copy(update={"version": before if expected_version is None else before + 1})
        return record.session()


@breaks("SC-OCC-001")
class EmptyPatchIsNoUpdate(Model):
    """update_session ignores an empty patch."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if patch == Patch():
            return self.require(session_id).session()
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-OCC-002")
class IgnoresExpectedVersion(Model):
    """update_session ignores expected_version."""

    def check_version(self, record: SessionRecord, expected: int | None) -> None:
        """Accept every version."""


@breaks("SC-OCC-002")
class AcceptsNewerExpectation(Model):
    """update_session refuses only versions that are too low."""

    def check_version(self, record: SessionRecord, expected: int | None) -> None:
        if expected is None or expected < record.head.version:
            super().check_version(record, expected)


@breaks("SC-OCC-002")
class ConflictHasNoSession(Model):
    """ConcurrencyError has no current session."""

    def check_version(self, record: SessionRecord, expected: int | None) -> None:
        actual = record.head.version
        if expected is not None and expected != actual:
            raise ConcurrencyError(record.head.id, expected=expected, actual=actual)


class _ComparesThenWrites(ReferenceStorage):
    """The version is compared before the write, not together with it."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        def check(model: Model) -> None:
            model.check_version(model.require(session_id), expected_version)

        self.work("update_session", check)
        await self.between()
        return await super().update_session(session_id, patch)

    async def between(self) -> None:
        await self.pause()


@breaks("SC-OCC-003", "U36", "U42")
class ComparesThenWrites(_ComparesThenWrites):
    """The version is compared before the write, not together with it."""


@breaks("SC-OCC-007", "U36")
class LocksInsideTheAdapter(_ComparesThenWrites):
    """Compare and write are protected by a lock of the adapter only."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.held = False

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        while self.held:
            await self.pause()
        self.held = True
        try:
            return await super().update_session(session_id, patch, expected_version=expected_version)
        finally:
            self.held = False


@breaks("SC-OCC-004")
class ReadsChangesAndWritesBack(ReferenceStorage):
    """update_session reads the session, changes it and writes all of it back."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = self.work("update_session", lambda model: model.require(session_id).head)
        await self.pause()

        def write(model: Model) -> Session:
            record = model.require(session_id)
            model.check_version(record, expected_version)
            record.head = patch.apply(before).model_copy(update={"version": before.version + 1})
            return record.session()

        return self.work("update_session", write)


@breaks("SC-OCC-005")
class AppendsRaiseTheVersion(Model):
    """Every append counts as an update."""

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        record.head = record.head.model_copy(update={"version": record.head.version + 1})


@breaks("SC-OCC-006")
class LooksThenCreates(ReferenceStorage):
    """create_session checks whether the id is free before it writes, not together with it."""

    async def create_session(self, session: Session) -> Session:
        found = self.work("create_session", lambda model: model.get_session(session.id))
        if found is not None and found.created_at != session.created_at:
            raise SessionExistsError(session.id)
        await self.pause()

        def write(model: Model) -> Session:
            record = model.records.pop(session.id, None)
            if record is not None and record.head.created_at == session.created_at:
                model.records[session.id] = record
            return model.create_session(session).model_copy(deep=True)

        return self.work("create_session", write)


@breaks("SC-OCC-008", "U37")
class UpdateDeletesAndWritesAgain(ReferenceStorage):
    """update_session removes the session for a moment before it writes the new one."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        def remove(model: Model) -> SessionRecord:
            record = model.require(session_id)
            model.check_version(record, expected_version)
            return model.records.pop(session_id)

        record = self.work("update_session", remove)
        await self.pause()

        def write(model: Model) -> Session:
            model.records[session_id] = record
            return model.update_session(session_id, patch).model_copy(deep=True)

        return self.work("update_session", write)
