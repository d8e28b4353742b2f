"""Mutants that lose updates, or count them wrongly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from session_continuity import (
    ConcurrencyError,
    Message,
    Patch,
    Session,
    SessionExistsError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Kept, Model
from session_continuity_conformance.reference.storage import ReferenceStorage

Chosen = Collection[str]


@breaks("SC-OCC-001", "U22")
class VersionStays(Model):
    """update_session leaves the version to its caller."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = self.needed(session_id).head.version
        super().update_session(session_id, patch, expected_version=expected_version)
        kept = self.needed(session_id)
        kept.head = kept.head.model_copy(update={"version": before if expected_version is None else before + 1})
        return kept.session()


@breaks("SC-OCC-001")
class EmptyPatchIsNoUpdate(Model):
    """update_session does nothing for a patch that names nothing."""

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        if patch == Patch():
            return self.needed(session_id).session()
        return super().update_session(session_id, patch, expected_version=expected_version)


@breaks("SC-OCC-002")
class IgnoresExpectedVersion(Model):
    """update_session ignores expected_version."""

    def compare(self, kept: Kept, expected: int | None) -> None:
        """Every version is right."""


@breaks("SC-OCC-002")
class AcceptsNewerExpectation(Model):
    """update_session refuses only versions that are too low."""

    def compare(self, kept: Kept, expected: int | None) -> None:
        if expected is None or expected < kept.head.version:
            super().compare(kept, expected)


@breaks("SC-OCC-002")
class ConflictTellsNothing(Model):
    """ConcurrencyError comes without the current session."""

    def compare(self, kept: Kept, expected: int | None) -> None:
        actual = kept.head.version
        if expected is not None and expected != actual:
            raise ConcurrencyError(kept.head.id, expected=expected, actual=actual)


class _ComparesThenWrites(ReferenceStorage):
    """The version is compared before the write, not with it."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        def check(model: Model) -> None:
            model.compare(model.needed(session_id), expected_version)

        self.work("update_session", check)
        await self.between()
        return await super().update_session(session_id, patch)

    async def between(self) -> None:
        await self.pause()


@breaks("SC-OCC-003", "U36", "U42")
class ComparesThenWrites(_ComparesThenWrites):
    """The version is compared before the write, not with it."""


@breaks("SC-OCC-007", "U36")
class LocksInsideTheAdapter(_ComparesThenWrites):
    """Compare and write are kept together by a lock that another adapter does not have."""

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
    """update_session reads the session, changes it and writes it back whole."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = self.work("update_session", lambda model: model.needed(session_id).head)
        await self.pause()

        def write(model: Model) -> Session:
            kept = model.needed(session_id)
            model.compare(kept, expected_version)
            kept.head = patch.apply(before).model_copy(update={"version": before.version + 1})
            return kept.session()

        return self.work("update_session", write)


@breaks("SC-OCC-005")
class AppendsRaiseTheVersion(Model):
    """Every append counts as an update."""

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        super().add(kept, turn)
        kept.head = kept.head.model_copy(update={"version": kept.head.version + 1})


@breaks("SC-OCC-006")
class LooksThenCreates(ReferenceStorage):
    """create_session looks whether the id is free before it writes."""

    async def create_session(self, session: Session) -> Session:
        found = self.work("create_session", lambda model: model.get_session(session.id))
        if found is not None and found.created_at != session.created_at:
            raise SessionExistsError(session.id)
        await self.pause()

        def write(model: Model) -> Session:
            kept = model.kept.pop(session.id, None)
            if kept is not None and kept.head.created_at == session.created_at:
                model.kept[session.id] = kept
            return model.create_session(session).model_copy(deep=True)

        return self.work("create_session", write)
