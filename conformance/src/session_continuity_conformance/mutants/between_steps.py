"""Mutants whose writes take several steps, and are not completed by repeating them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from session_continuity import Message, Patch, Session, SessionFilter
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.networked import NetworkedStorage
from session_continuity_conformance.reference.storage import ReferenceStorage


class _Indexed(Model):
    """Listings show a session by what the index has of it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.index: dict[str, Session] = {}

    def new_record(self, session: Session) -> SessionRecord:
        record = super().new_record(session)
        self.index[session.id] = record.head
        return record

    def selects(self, filter: SessionFilter, session: Session) -> bool:
        found = replace(filter, behind=None).matches(self.index[session.id])
        return found and filter.is_behind(filter.place_of(session), filter.behind)


class _IndexesLater(ReferenceStorage):
    model_class: ClassVar[type[Model]] = _Indexed

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        before = await self.get_session(session_id)
        updated = await super().update_session(session_id, patch, expected_version=expected_version)
        if before is None or (before.user_id, before.status) != (updated.user_id, updated.status):
            await self.pause()
            self.work("update_session", lambda model: _index(model, updated))
        return updated


def _index(model: Model, session: Session) -> None:
    assert isinstance(model, _Indexed)
    model.index[session.id] = session


@breaks("SC-FLT-017")
class IndexesInASecondRequest(_IndexesLater, NetworkedStorage):
    """An update writes the index in a second request, and leaves it out where the session has the values already."""


@breaks("SC-FLT-017")
class IndexesAfterItSuspended(_IndexesLater):
    """An update writes the index after an await, and leaves it out where the session has the values already."""


@breaks("SC-FLT-017")
class CountsEditsInASecondRequest(NetworkedStorage):
    """An edit changes the totals in a second request, and leaves it out where the message has the content already."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        before = await self.get_message(session_id, message_id)
        uncounted = Patch({name: value for name, value in patch.set.items() if name != "token_count"})
        edited = await super().update_message(session_id, message_id, uncounted)
        if before is not None and before.content == edited.content:
            return edited
        return await super().update_message(session_id, message_id, patch)
