"""Mutants whose capabilities change while they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from session_continuity import (
    Capabilities,
    Session,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-CFG-005")
class ListsAllOnceItIsUsed(ReferenceStorage):
    """unscoped_listing is declared only from the first create_session on."""

    declared: ClassVar[Capabilities] = replace(ReferenceStorage.declared, unscoped_listing=False)

    async def create_session(self, session: Session) -> Session:
        self.capabilities = replace(self.capabilities, unscoped_listing=True)
        return await super().create_session(session)


@breaks("SC-CFG-006")
class TakesLongerBatchesOnceItIsUsed(ReferenceStorage):
    """max_batch is 2 at first, and None from the first create_session on."""

    declared: ClassVar[Capabilities] = replace(ReferenceStorage.declared, max_batch=2)

    async def create_session(self, session: Session) -> Session:
        self.capabilities = replace(self.capabilities, max_batch=None)
        return await super().create_session(session)
