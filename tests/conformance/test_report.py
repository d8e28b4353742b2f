"""The verdict: a store is not conformant by accident."""

from __future__ import annotations

import re
from typing import Any

import pytest

from session_continuity import CONTRACT
from session_continuity_conformance.cases import Effort
from session_continuity_conformance.clauses import all_clauses, areas
from session_continuity_conformance.reporting.render import as_text
from session_continuity_conformance.reporting.report import Outcome, Result, StoreReport, Subject

from ..kit.verdicts import CONFORMANT, NOT_CONFORMANT, WITH_EXCEPTIONS

SUBJECT = Subject(
    label="x",
    name="x://",
    arguments="x://",
    complaint="",
    distribution="x 1.0",
    modes=frozenset({"async", "blocking"}),
    capabilities={},
)
MUSTS = [name for name, clause in all_clauses().items() if clause.level == "MUST" and clause.capability is None]
SHOULDS = [name for name, clause in all_clauses().items() if clause.level == "SHOULD"]


def report(outcomes: dict[str, Outcome | None], *, partial: bool = False) -> StoreReport:
    """The report of a run in which every clause passed except these; None for a clause that was not run."""
    told: dict[str, Any] = {"example": "test", "target": "x", "mode": "async", "reason": "why", "seconds": 0.5}
    every: dict[str, Outcome | None] = {**dict.fromkeys(all_clauses(), "passed"), **outcomes}
    results = [Result(clause=name, outcome=outcome, **told) for name, outcome in every.items() if outcome]
    return StoreReport.of(SUBJECT, CONTRACT, results, all_clauses().values(), partial=partial, effort=Effort())


def test_store_that_keeps_all_is_conformant() -> None:
    assert report({}).verdict == CONFORMANT


@pytest.mark.parametrize("outcome", ["failed", "skipped", None])
def test_a_must_that_did_not_pass_is_a_failure(outcome: Outcome | None) -> None:
    found = report({MUSTS[3]: outcome})
    assert (found.conformant, found.verdict) == (False, NOT_CONFORMANT)
    assert MUSTS[3] in as_text([found])


@pytest.mark.parametrize("outcome", ["failed", "skipped", None])
def test_a_should_that_did_not_pass_is_an_exception(outcome: Outcome | None) -> None:
    found = report({SHOULDS[0]: outcome})
    assert (found.conformant, found.verdict) == (True, WITH_EXCEPTIONS)


def test_a_must_that_could_not_be_run_is_told() -> None:
    assert f"{MUSTS[0]} (MUST) could not be run: {all_clauses()[MUSTS[0]].text}" in as_text([report({MUSTS[0]: None})])


@pytest.mark.parametrize("outcome", ["skipped", "not applicable", "under-declared", None])
def test_a_run_of_nothing_is_no_verdict(outcome: Outcome | None) -> None:
    found = report(dict.fromkeys(all_clauses(), outcome))
    assert (found.executed, found.conformant, found.verdict) == (0, False, "NOTHING RUN")


def test_one_clause_that_holds_by_chance_declares_nothing() -> None:
    shared = [name for name, clause in all_clauses().items() if clause.capability == "shared"]
    assert len(shared) > 1
    all_hold: dict[str, Outcome | None] = dict.fromkeys(shared, "under-declared")
    assert report(all_hold).under_declared == ["shared"]
    by_chance = report({**all_hold, shared[0]: "not applicable"})
    assert by_chance.under_declared == []
    assert {each.status for each in by_chance.clauses if each.clause.id in shared} == {"not applicable"}


def test_narrow_run_says_so() -> None:
    every: dict[str, Outcome | None] = dict.fromkeys(all_clauses())
    narrow = report({**every, MUSTS[0]: "passed"}, partial=True)
    assert narrow.verdict == f"{CONFORMANT} (only the one clause asked for)"


def test_the_marks_of_all_areas_stand_in_one_column() -> None:
    mixed: dict[str, Outcome | None] = {
        name: "under-declared" if clause.capability == "max_batch" else "not applicable"
        for name, clause in all_clauses().items()
        if clause.capability
    }
    text = as_text([report({**mixed, MUSTS[0]: "failed"})])
    marks = [match.start(1) for match in re.finditer(r"^  [A-Z]+ .* ([✓✗–+]+)$", text, re.MULTILINE)]
    starts = {start - text.rindex("\n", 0, start) for start in marks}
    assert (len(marks), len(starts)) == (len(areas()), 1)
