"""The report for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from textwrap import wrap

from session_continuity_conformance._version import __version__
from session_continuity_conformance.clauses import areas
from session_continuity_conformance.options import MODES
from session_continuity_conformance.reporting.report import ClauseReport, Result, StoreReport, number_of, written

Paint = Callable[[str, str], str]

_MARKS = {"passed": "✓", "failed": "✗", "not applicable": "–", "under-declared": "+", "not run": "?"}
_GREEN, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
SHOWN_FAILURES = 20
WIDTH = 116


def as_text(reports: Sequence[StoreReport], *, colour: bool = False) -> str:
    """The report for people: per store a header, a line per area, the failures and the verdict; then the stores side
    by side, where there are several."""
    parts: list[str] = []
    for report in reports:
        parts += _store(report, _paint if colour else _leave)
    if len(reports) > 1:
        parts += ["", *_side_by_side(reports)]
    return "\n".join(parts) + "\n"


def _paint(text: str, code: str) -> str:
    return f"{code}{text}{_PLAIN}"


def _leave(text: str, code: str) -> str:  # noqa: ARG001
    return text


def _store(report: StoreReport, paint: Paint) -> list[str]:
    lines = ["", paint(report.subject.name, _BOLD), *_header(report), "", *_areas(report)]
    for part in (_inapplicable, _reserved, _newer, _unwritten, _failures, _not_run, _under_declared):
        lines += part(report)
    counts = f"{number_of(report.executed, 'example')} of {number_of(len(report.clauses), 'clause')}"
    times = ", ".join(f"{mode} {report.seconds(mode):.1f} s" for mode in MODES if report.seconds(mode))
    verdict = paint(report.verdict, _GREEN if report.conformant else _RED)
    return [*lines, "", f"{verdict}  {counts}; {times}"]


def _header(report: StoreReport) -> list[str]:
    declared = [f"{name}={value}" for name, value in report.subject.capabilities.items() if value is not False]
    core = version("session-continuity")
    return [
        f"  contract {written(report.contract)}, suite {__version__}, session-continuity {core}",
        f"  backend  {report.subject.label}: {report.subject.distribution}",
        f"  declares {', '.join(declared) or 'nothing'}",
        f"  modes    {_modes(report)}",
        f"  search   {report.effort}",
        *([f"  health   {report.subject.complaint}"] if report.subject.complaint else []),
    ]


def _modes(report: StoreReport) -> str:
    ran = {result.mode for result in report.results}
    shown = [name if name in ran else f"{name} (not run)" for name in MODES]
    bridged = {"async", "blocking"} - report.subject.modes
    return ", ".join(shown) + "".join(f"; the store has no {name} mode, core bridges it" for name in bridged)


def _areas(report: StoreReport) -> list[str]:
    rows = [
        (f"{area:<4} {name}", _tally(own), "".join(_MARKS[each.status] for each in own))
        for area, name in areas().items()
        if (own := [each for each in report.clauses if each.clause.area == area])
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"  {area:<{widths[0]}} {tally:<{widths[1]}} {marks}" for area, tally, marks in rows]


def _tally(clauses: Sequence[ClauseReport]) -> str:
    counts = {status: sum(clause.status == status for clause in clauses) for status in _MARKS}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def _inapplicable(report: StoreReport) -> list[str]:
    """The clauses that do not apply to this store, by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in report.clauses:
        if each.status == "not applicable":
            reasons.setdefault(each.results[0].reason, []).append(each.clause.id)
    return _after_a_gap(
        line for reason, ids in reasons.items() for line in _hanging(f"{', '.join(ids)} not applicable: {reason}")
    )


def _reserved(report: StoreReport) -> list[str]:
    """What could not be checked, and what that means."""
    return _after_a_gap(
        line for reservation in report.reservations for line in _hanging(f"{reservation.short}: {reservation.sentence}")
    )


def _newer(report: StoreReport) -> list[str]:
    """The clauses that do not apply because they came in a later version of the contract."""
    by_version: dict[tuple[int, int], list[str]] = {}
    for clause in report.newer:
        by_version.setdefault(clause.since, []).append(clause.id)
    return _after_a_gap(
        line
        for since, ids in sorted(by_version.items())
        for line in _hanging(
            f"{number_of(len(ids), 'clause')} of contract {written(since)} {'does' if len(ids) == 1 else 'do'} not "
            f"apply to a {written(report.contract)} backend: {', '.join(ids)}"
        )
    )


def _unwritten(report: StoreReport) -> list[str]:
    """The methods that are not written yet, each with the clauses that need it."""
    waiting: dict[str, dict[str, None]] = {}
    for result in report.failures():
        if result.finding is not None and result.finding.unwritten:
            waiting.setdefault(result.finding.unwritten, {})[result.clause] = None
    if not waiting:
        return []
    lines = [
        line
        for method, clauses in sorted(waiting.items(), key=lambda item: -len(item[1]))
        for line in [f"  {method}, needed by {number_of(len(clauses), 'clause')}:", *_indented(", ".join(clauses))]
    ]
    return ["", "not written yet (NotImplementedError):", *lines]


def _failures(report: StoreReport) -> list[str]:
    """One failure per example, and one for all examples that an error ended in the same way. The modes in which it
    failed are named with it."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in report.failures():
        if result.finding is None or not result.finding.unwritten:
            found.setdefault(_likeness(result), []).append(result)
    failures = list(found.values())
    lines = [line for results in failures[:SHOWN_FAILURES] for line in ["", *_failure(report, results)]]
    hidden = failures[SHOWN_FAILURES:]
    if hidden:
        clauses = sorted({results[0].clause for results in hidden})
        lines += ["", f"… and {number_of(len(hidden), 'more failure')}, of {', '.join(clauses)}"]
    return lines


def _likeness(result: Result) -> tuple[str, ...]:
    finding = result.finding
    if finding is None or not finding.unexpected:
        return (result.clause, result.example)
    return (finding.observed, finding.cause, finding.where)


def _failure(report: StoreReport, results: Sequence[Result]) -> list[str]:
    first = results[0]
    lines = first.finding.lines() if first.finding is not None else [f"{first.clause} {first.reason}"]
    modes = ", ".join(mode for mode in MODES if mode in {result.mode for result in results})
    others = [name for name in dict.fromkeys(result.clause for result in results) if name != first.clause]
    same = _named("same in", ", ".join(others)) if others else []
    return [*lines, *same, f"  modes:    {modes}", f"  again:    {command_for(report, first)}"]


def _named(name: str, text: str) -> list[str]:
    """Lines as those of a finding, of a text that may be long."""
    return wrap(text, WIDTH, initial_indent=f"  {f'{name}:':<9} ", subsequent_indent=" " * 12, break_on_hyphens=False)


def command_for(report: StoreReport, result: Result) -> str:
    """The command that runs the clause of a result again."""
    seed = report.effort.seed
    search = "" if seed is None else f" --explore {report.effort.programs} --seed {seed}"
    arguments = f"--clause {result.clause} --mode {result.mode}{search}"
    return f"session-continuity conformance {report.subject.arguments} {arguments}"


def _not_run(report: StoreReport) -> list[str]:
    clauses = [each.clause for each in report.clauses if each.status == "not run"]
    return [f"{clause.id} ({clause.level}) could not be run: {clause.text}" for clause in clauses]


def _under_declared(report: StoreReport) -> list[str]:
    if not report.under_declared:
        return []
    names = ", ".join(report.under_declared)
    what = "it" if len(report.under_declared) == 1 else "them"
    return ["", f"not declared but supported here: {names}. Declare {what} if the store always supports {what}."]


def _side_by_side(reports: Sequence[StoreReport]) -> list[str]:
    """The stores in columns: areas, modes with their times, and the clauses on which they differ."""
    rows = [["", *(report.subject.label for report in reports)]]
    rows += [[f"{area} {name}", *(_score(report, area) for report in reports)] for area, name in areas().items()]
    rows += [[f"{mode} mode", *(_time(report, mode) for report in reports)] for mode in MODES]
    rows += _differences(reports)
    rows.append(["verdict", *(report.judgement for report in reports)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [row for row in rows if any(cell != "" for cell in row[1:])]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def _score(report: StoreReport, area: str) -> str:
    """The number of clauses that hold, of those of an area that apply to the store."""
    bound = report.bound(area)
    passed = sum(clause.status == "passed" for clause in bound)
    return f"{_MARKS['passed' if passed == len(bound) else 'failed']} {passed}/{len(bound)}" if bound else ""


def _time(report: StoreReport, mode: str) -> str:
    results = [result for result in report.results if result.mode == mode and result.outcome in ("passed", "failed")]
    failed = sum(result.outcome == "failed" for result in results)
    broken = f", {failed} failed" if failed else ""
    return f"{number_of(len(results), 'example')}{broken}, {report.seconds(mode):.1f} s" if results else ""


def _differences(reports: Sequence[StoreReport]) -> list[list[str]]:
    """The clauses that did not pass on every store, with their status on each."""
    found: dict[str, dict[str, str]] = {}
    for report in reports:
        for clause in report.clauses:
            found.setdefault(clause.clause.id, {})[report.subject.label] = clause.status
    rows = [
        [name, *(statuses.get(report.subject.label, "not run") for report in reports)]
        for name, statuses in found.items()
    ]
    return [row for row in rows if set(row[1:]) - {"passed"}]


def _after_a_gap(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return ["", *found] if found else []


def _indented(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _hanging(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
