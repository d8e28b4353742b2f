"""The reference keeps every clause, in a file that processes share."""

from __future__ import annotations

import pytest

from session_continuity_conformance.cases import Case
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.examples import examples
from session_continuity_conformance.mutants.registry import open_store_of
from session_continuity_conformance.options import MODES, ModeName
from session_continuity_conformance.reference.storage import SharedStorage
from session_continuity_conformance.store_fixture import NotApplicableError


@pytest.mark.long("The whole suite: no clause may refuse the store that keeps all of them.")
@pytest.mark.parametrize("mode", MODES)
def test_the_reference_keeps_every_clause(mode: ModeName) -> None:
    left_out: set[str] = set()
    with open_store_of(SharedStorage) as target:
        for name, group in examples().items():
            for proof in group:
                try:
                    proof(Case(target, mode), all_clauses()[name])
                except NotApplicableError:
                    left_out.add(name)
    left_out -= {name for name in left_out if name.startswith("SC-FLT")}  # test_faults.py proves those
    of_one_loop = {"async": set[str](), "blocking": {"SC-LIF-010"}, "portal": {"SC-LIF-010"}}
    assert left_out == of_one_loop[mode] | (set() if mode == "blocking" else {"SC-LIF-006"})
