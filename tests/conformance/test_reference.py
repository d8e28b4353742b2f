"""The unbroken store of the mutants lives: the reference, in a file that processes share, keeps every clause."""

from __future__ import annotations

import pytest

from session_continuity_conformance.cases import Case
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.drivers import DRIVERS, DriverName
from session_continuity_conformance.examples import examples
from session_continuity_conformance.mutants.registry import opened
from session_continuity_conformance.reference.storage import SharedStorage
from session_continuity_conformance.store import NotApplicableError


@pytest.mark.parametrize("mode", DRIVERS)
def test_the_reference_keeps_every_clause(mode: DriverName) -> None:
    left_out: set[str] = set()
    with opened(SharedStorage) as target:
        for name, group in examples().items():
            for proof in group:
                try:
                    proof(Case(target, mode), all_clauses()[name])
                except NotApplicableError:
                    left_out.add(name)
    left_out -= {name for name in left_out if name.startswith("SC-FLT")}  # test_faults.py proves those
    assert left_out == (set() if mode == "blocking" else {"SC-LIF-006"})
