"""Mutants of CFG and APP that declare one thing and do another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import ClassVar

from session_continuity import Appended, Capabilities, Message, Session
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-CFG-005")
class ListsAllOnceItIsUsed(ReferenceStorage):
    """Declares unscoped_listing only from the first create_session on."""

    declared: ClassVar[Capabilities] = replace(ReferenceStorage.declared, unscoped_listing=False)

    async def create_session(self, session: Session) -> Session:
        self.capabilities = replace(self.capabilities, unscoped_listing=True)
        return await super().create_session(session)


@breaks("SC-CFG-006")
class TakesLongerTurnsOnceItIsUsed(ReferenceStorage):
    """Declares max_turn=2, and no limit from the first create_session on."""

    declared: ClassVar[Capabilities] = replace(ReferenceStorage.declared, max_turn=2)

    async def create_session(self, session: Session) -> Session:
        self.capabilities = replace(self.capabilities, max_turn=None)
        return await super().create_session(session)


@breaks("SC-APP-023")
class CutsLongTurns(ReferenceStorage):
    """Stores the first hundred messages of a turn, as many as one request takes, and declares no limit."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return await super().append_messages(session_id, messages[:100], chosen_ids=chosen_ids)
