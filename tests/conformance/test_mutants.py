"""The suite can fail: every mutant is killed by its own clause."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

from session_continuity_conformance.cases import CLAUSE_ATTRIBUTE
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.mutants import mutants
from session_continuity_conformance.mutants.__main__ import main
from session_continuity_conformance.reference.storage import ReferenceStorage


@pytest.mark.parametrize("name", sorted(mutants()))
def test_mutant_is_killed_by_its_own_clause(name: str) -> None:
    mutant = mutants()[name]
    assert mutant.killed_by(mutant.clause), mutant.story


def test_mutants_tell_what_they_break() -> None:
    for mutant in mutants().values():
        assert mutant.story.endswith("."), mutant.name
        assert mutant.clause in all_clauses(), mutant.name


def test_a_mutant_stands_in_the_file_of_the_same_name_as_its_clause_s_examples() -> None:
    for mutant in mutants().values():
        _, _, name = mutant.module.rpartition(".")
        examples = import_module(f"session_continuity_conformance.suite.test_{name}")
        assert mutant.clause in {getattr(each, CLAUSE_ATTRIBUTE, None) for each in vars(examples).values()}, mutant.name


def test_the_table_tells_which_clause_kills_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["NaiveClock", "SecondCloseFails", "--beside"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3:2] == [f"{name}: {mutants()[name].story}" for name in ("NaiveClock", "SecondCloseFails")]
    assert lines[1] == "    killed by SC-CFG-003"
    assert lines[3].startswith("    killed by SC-LIF-002, and by SC-CFG-004, SC-LIF-001, ")
    assert lines[4:] == ["2 mutants, 0 survived"]


def test_the_table_tells_of_a_mutant_that_survives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = replace(mutants()["NaiveClock"], name="Sound", storage=ReferenceStorage)
    monkeypatch.setattr("session_continuity_conformance.mutants.__main__.mutants", lambda: {"Sound": sound})
    assert main([]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["    SURVIVES SC-CFG-003", "1 mutant, 1 survived"]


def test_the_table_of_a_mutant_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["Nobody"])
    assert "unknown mutant Nobody" in capsys.readouterr().err
