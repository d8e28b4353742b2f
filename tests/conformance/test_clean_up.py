"""An example closes what it opened, also when its clean-up fails."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from session_continuity import Mode, StorageAdapter
from session_continuity_conformance.cases import BrokenClauseError, Case
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.drivers import DRIVERS, DriverName
from session_continuity_conformance.mutants import mutants
from session_continuity_conformance.reference import ReferenceStorage, ReferenceTarget
from session_continuity_conformance.store import Store


@dataclass
class Kept(ReferenceTarget):
    """Remembers its adapters."""

    adapters: list[ReferenceStorage] = field(default_factory=list[ReferenceStorage])

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        self.adapters.append(self.storage(self.world, namespace, mode))
        return self.adapters[-1]


async def two_adapters(store: Store) -> None:
    await store.session()
    await store.open()


@pytest.mark.parametrize("mode", DRIVERS)
@pytest.mark.parametrize("name", ["ExpirySweepFails", None])
def test_every_adapter_is_closed(name: str | None, mode: DriverName) -> None:
    target = Kept(mutants()[name].storage if name else ReferenceStorage)
    try:
        Case(target, mode).run(all_clauses()["SC-SES-001"], two_adapters)
    except BrokenClauseError:
        assert name
    assert [adapter.closed for adapter in target.adapters] == [True, True]
