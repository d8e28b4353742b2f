"""An example closes what it opened, also when its clean-up fails."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from session_continuity import Mode, Page, StorageAdapter
from session_continuity_conformance.cases import BrokenClauseError, Case
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.drivers import DRIVERS, DriverName
from session_continuity_conformance.reference.storage import ReferenceStorage, ReferenceTarget
from session_continuity_conformance.store import Store


@dataclass
class Kept(ReferenceTarget):
    """Remembers its adapters."""

    adapters: list[ReferenceStorage] = field(default_factory=list[ReferenceStorage])

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        self.adapters.append(self.storage(self.world, namespace, mode))
        return self.adapters[-1]


class CannotBeSwept(ReferenceStorage):
    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        raise RuntimeError(f"nobody asks for {before}, {limit}, {cursor}")


async def two_adapters(store: Store) -> None:
    await store.session()
    await store.open()


@pytest.mark.parametrize("mode", DRIVERS)
@pytest.mark.parametrize("storage", [ReferenceStorage, CannotBeSwept])
def test_every_adapter_is_closed(storage: type[ReferenceStorage], mode: DriverName) -> None:
    target = Kept(storage)
    fails = pytest.raises(BrokenClauseError, match="nobody asks for") if storage is CannotBeSwept else nullcontext()
    with fails:
        Case(target, mode).run(all_clauses()["SC-SES-001"], two_adapters)
    assert [adapter.closed for adapter in target.adapters] == [True, True]
