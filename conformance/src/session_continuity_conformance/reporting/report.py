"""What a run found, gathered into one verdict per store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from session_continuity import Mode
from session_continuity_conformance.cases import Effort, Finding
from session_continuity_conformance.clauses import Clause, Contract

Outcome = Literal["passed", "failed", "skipped", "not applicable", "under-declared"]
Status = Literal["passed", "failed", "not applicable", "under-declared", "not run"]
GOOD: tuple[Status, ...] = ("passed", "not applicable", "under-declared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One example, run on one store in one mode. `reason` says why it was skipped or does not apply."""

    clause: str
    example: str
    target: str
    mode: str
    outcome: Outcome
    reason: str
    seconds: float
    finding: Finding | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        values: dict[str, Any] = json.loads(text)
        told: dict[str, Any] | None = values.pop("finding")
        finding = None
        if told is not None:
            finding = Finding(done=tuple(told.pop("done")), program=tuple(told.pop("program")), **told)
        return cls(**values, finding=finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The store that a report is about. `modes` are its own, `asked` is how the command line names it, `complaint` what
    its health said before it was tested."""

    label: str
    name: str
    asked: str
    complaint: str
    distribution: str
    modes: frozenset[Mode]
    capabilities: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReport:
    """What became of one clause on one store."""

    clause: Clause
    status: Status
    results: Sequence[Result] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """One store against one contract. `partial` says that only some clauses or modes were asked for."""

    subject: Subject
    contract: Contract
    results: Sequence[Result]
    clauses: Sequence[ClauseReport]
    effort: Effort
    partial: bool = False

    @classmethod
    def of(
        cls,
        subject: Subject,
        contract: Contract,
        results: Sequence[Result],
        clauses: Mapping[str, Clause],
        *,
        partial: bool,
        effort: Effort,
    ) -> StoreReport:
        mine = [result for result in results if result.target == subject.label]
        reports = _without_chance([_clause_report(clause, mine) for clause in clauses.values()])
        if partial:
            reports = [report for report in reports if report.status != "not run"]
        return cls(
            subject=subject, contract=contract, results=mine, clauses=tuple(reports), effort=effort, partial=partial
        )

    def broken(self, level: str) -> list[ClauseReport]:
        """Clauses of this level that the store broke, or that could not be shown."""
        return [report for report in self.clauses if report.clause.level == level and report.status not in GOOD]

    @property
    def executed(self) -> int:
        """Examples that ran to an answer."""
        return sum(result.outcome in ("passed", "failed") for result in self.results)

    @property
    def conformant(self) -> bool:
        return self.executed > 0 and not self.broken("MUST")

    @property
    def verdict(self) -> str:
        """The judgement, with what it was passed on."""
        number = f"{len(self.clauses)} clauses" if len(self.clauses) > 1 else "one clause"
        scope = f" (only the {number} asked for)" if self.partial and self.conformant else ""
        return f"{self.judgement}{scope}"

    @property
    def judgement(self) -> str:
        contract = ".".join(map(str, self.contract))
        if not self.executed:
            return "NOTHING RUN"
        if self.broken("MUST"):
            return f"NOT CONFORMANT {contract}"
        exceptions = " WITH EXCEPTIONS" if self.broken("SHOULD") else ""
        return f"CONFORMANT {contract}{exceptions}"

    def bound(self, area: str) -> list[ClauseReport]:
        """The clauses of an area that say something about this store."""
        left_out = ("not applicable", "under-declared")
        return [each for each in self.clauses if each.clause.area == area and each.status not in left_out]

    @property
    def under_declared(self) -> list[str]:
        """The capabilities that the store has and does not declare."""
        found = [each.clause.capability for each in self.clauses if each.status == "under-declared"]
        return [name for name in dict.fromkeys(found) if name is not None]

    def seconds(self, mode: str) -> float:
        """How long the examples of one mode took."""
        return sum(result.seconds for result in self.results if result.mode == mode)

    def findings(self) -> list[Result]:
        """Failed and skipped examples, one per clause and mode group, in the order of the clauses."""
        failed = [result for result in self.results if result.outcome in ("failed", "skipped")]
        order = {report.clause.id: place for place, report in enumerate(self.clauses)}
        return sorted(failed, key=lambda result: order.get(result.clause, len(order)))


def _clause_report(clause: Clause, results: Sequence[Result]) -> ClauseReport:
    mine = [result for result in results if result.clause == clause.id]
    return ClauseReport(clause=clause, status=_status({result.outcome for result in mine}), results=tuple(mine))


def _without_chance(reports: Sequence[ClauseReport]) -> list[ClauseReport]:
    """A store has a capability when every clause on it holds; single ones may hold by chance."""
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
