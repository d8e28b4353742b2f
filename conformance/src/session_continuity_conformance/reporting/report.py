"""The results of a run, and the verdict on each store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from session_continuity import Mode
from session_continuity_conformance.cases import Effort
from session_continuity_conformance.clauses import Clause, Contract
from session_continuity_conformance.findings import Finding
from session_continuity_conformance.store_fixture import Reservation

Outcome = Literal["passed", "failed", "skipped", "not applicable", "under-declared"]
Status = Literal["passed", "failed", "not applicable", "under-declared", "not run"]
GOOD: tuple[Status, ...] = ("passed", "not applicable", "under-declared")


def number_of(count: int, noun: str) -> str:
    """A number with its noun, as in "1 clause" and "2 clauses"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def written(contract: Contract) -> str:
    """A version of the contract as text."""
    return ".".join(map(str, contract))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One example, run on one store in one mode. `reason` says why it was skipped or does not apply, `reservations`
    what it could not check."""

    clause: str
    example: str
    target: str
    mode: str
    outcome: Outcome
    reason: str
    seconds: float
    finding: Finding | None = None
    reservations: tuple[Reservation, ...] = ()

    def as_json(self) -> str:
        """The result as text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """The result that `as_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        finding: dict[str, Any] | None = values.pop("finding")
        if finding is not None:
            finding |= {"done": tuple(finding["done"]), "program": tuple(finding["program"])}
        reservations = tuple(Reservation(**each) for each in values.pop("reservations"))
        return cls(**values, finding=None if finding is None else Finding(**finding), reservations=reservations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The store that a report is about.

    `modes` are those it has itself, `arguments` name it on the command line, and `complaint` is what its health said
    before the first example.
    """

    label: str
    name: str
    arguments: str
    complaint: str
    distribution: str
    modes: frozenset[Mode]
    capabilities: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReport:
    """The results of one clause on one store."""

    clause: Clause
    status: Status
    results: Sequence[Result] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """The results of one store, against one version of the contract.

    `newer` are clauses of later versions, which do not apply. `partial` says that the run was limited to some clauses
    or modes.
    """

    subject: Subject
    contract: Contract
    results: Sequence[Result]
    clauses: Sequence[ClauseReport]
    newer: Sequence[Clause]
    effort: Effort
    partial: bool = False

    @classmethod
    def of(
        cls,
        subject: Subject,
        contract: Contract,
        results: Sequence[Result],
        clauses: Iterable[Clause],
        *,
        partial: bool,
        effort: Effort,
    ) -> StoreReport:
        """The report of a store, from its results and the clauses that were selected."""
        selected = list(clauses)
        reports = _without_chance([_clause_report(clause, results) for clause in selected if clause.since <= contract])
        return cls(
            subject=subject,
            contract=contract,
            results=results,
            clauses=tuple(report for report in reports if not (partial and report.status == "not run")),
            newer=tuple(clause for clause in selected if clause.since > contract),
            effort=effort,
            partial=partial,
        )

    def broken(self, level: str) -> list[ClauseReport]:
        """The clauses of this level that failed, or that could not be run."""
        return [report for report in self.clauses if report.clause.level == level and report.status not in GOOD]

    @property
    def executed(self) -> int:
        """The number of examples that passed or failed."""
        return sum(result.outcome in ("passed", "failed") for result in self.results)

    @property
    def conformant(self) -> bool:
        """Whether no MUST is broken, in a run that tested something."""
        return self.executed > 0 and not self.broken("MUST")

    @property
    def verdict(self) -> str:
        """The judgement, and what it is limited to."""
        count = f"{len(self.clauses)} clauses" if len(self.clauses) > 1 else "one clause"
        limits = [f"only the {count} asked for"] if self.partial else []
        limits += [each.short for each in self.reservations]
        return f"{self.judgement} ({'; '.join(limits)})" if limits and self.conformant else self.judgement

    @property
    def reservations(self) -> dict[Reservation, list[str]]:
        """What could not be checked, with the ids of the clauses."""
        found: dict[Reservation, dict[str, None]] = {}
        for result in self.results:
            for each in result.reservations:
                found.setdefault(each, {})[result.clause] = None
        return {each: list(clauses) for each, clauses in found.items()}

    @property
    def judgement(self) -> str:
        """CONFORMANT, NOT CONFORMANT or NOTHING RUN, with the version of the contract."""
        if not self.executed:
            return "NOTHING RUN"
        if self.broken("MUST"):
            return f"NOT CONFORMANT {written(self.contract)}"
        exceptions = " WITH EXCEPTIONS" if self.broken("SHOULD") else ""
        return f"CONFORMANT {written(self.contract)}{exceptions}"

    def bound(self, area: str) -> list[ClauseReport]:
        """The clauses of an area that apply to this store."""
        inapplicable = ("not applicable", "under-declared")
        return [each for each in self.clauses if each.clause.area == area and each.status not in inapplicable]

    @property
    def under_declared(self) -> list[str]:
        """The capabilities that the store has and does not declare."""
        found = [each.clause.capability for each in self.clauses if each.status == "under-declared"]
        return [name for name in dict.fromkeys(found) if name is not None]

    def seconds(self, mode: str) -> float:
        """The time that the examples of one mode took."""
        return sum(result.seconds for result in self.results if result.mode == mode)

    def failures(self) -> list[Result]:
        """The examples that failed or were skipped, in the order of their clauses."""
        failed = [result for result in self.results if result.outcome in ("failed", "skipped")]
        order = {report.clause.id: place for place, report in enumerate(self.clauses)}
        return sorted(failed, key=lambda result: order.get(result.clause, len(order)))


def _clause_report(clause: Clause, results: Sequence[Result]) -> ClauseReport:
    own = tuple(result for result in results if result.clause == clause.id)
    return ClauseReport(clause=clause, status=_status({result.outcome for result in own}), results=own)


def _without_chance(reports: Sequence[ClauseReport]) -> list[ClauseReport]:
    """The reports, in which a capability is under-declared only where every clause on it holds.

    A single clause may hold by chance.
    """
    statuses: dict[str | None, set[Status]] = {}
    for report in reports:
        statuses.setdefault(report.clause.capability, set()).add(report.status)
    return [
        replace(report, status="not applicable")
        if report.status == "under-declared" and statuses[report.clause.capability] != {"under-declared"}
        else report
        for report in reports
    ]


def _status(outcomes: set[Outcome]) -> Status:
    if outcomes & {"failed", "skipped"}:
        return "failed"
    if "passed" in outcomes:
        return "passed"
    if "under-declared" in outcomes:
        return "under-declared"
    return "not applicable" if outcomes else "not run"
