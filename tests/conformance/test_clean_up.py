"""An example closes what it opened and removes what it created, also when it fails."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from session_continuity import Mode, Page, Patch, Session, StorageAdapter
from session_continuity_conformance.cases import BrokenClauseError, Case
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.options import MODES, ModeName
from session_continuity_conformance.reference.storage import ReferenceStorage, ReferenceTarget
from session_continuity_conformance.store_fixture import StoreFixture


@dataclass
class RecordingTarget(ReferenceTarget):
    """Records the adapters that it opened."""

    adapters: list[ReferenceStorage] = field(default_factory=list[ReferenceStorage])

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        self.adapters.append(self.storage(self.world, namespace, mode))
        return self.adapters[-1]


class CannotBeSwept(ReferenceStorage):
    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        raise RuntimeError(f"nobody asks for {before}, {limit}, {cursor}")


class CopiesOnUpdate(ReferenceStorage):
    """A store in which update_session creates another session, as an operation of a later contract may."""

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        updated = await super().update_session(session_id, patch, expected_version=expected_version)
        return await self.create_session(updated.model_copy(update={"id": f"copy of {session_id}"}))


async def a_copy(store: StoreFixture) -> None:
    session = await store.create_session()
    await store.adapter.update_session(session.id, Patch())


def test_sessions_that_any_operation_returned_are_removed() -> None:
    target = RecordingTarget(CopiesOnUpdate)
    Case(target, "blocking").run(all_clauses()["SC-SES-001"], a_copy)
    assert [model.records for model in target.world.models.values()] == [{}]


async def two_adapters(store: StoreFixture) -> None:
    await store.create_session()
    await store.open()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("storage", [ReferenceStorage, CannotBeSwept])
def test_every_adapter_is_closed(storage: type[ReferenceStorage], mode: ModeName) -> None:
    target = RecordingTarget(storage)
    fails = pytest.raises(BrokenClauseError, match="nobody asks for") if storage is CannotBeSwept else nullcontext()
    with fails:
        Case(target, mode).run(all_clauses()["SC-SES-001"], two_adapters)
    assert [adapter.closed for adapter in target.adapters] == [True, True]
