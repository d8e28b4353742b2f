"""The report for people."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from textwrap import wrap
from typing import Any

from session_continuity_conformance._version import __version__
from session_continuity_conformance.clauses import areas
from session_continuity_conformance.drivers import DRIVERS
from session_continuity_conformance.reporting.report import ClauseReport, Result, StoreReport

_MARKS = {"passed": "✓", "failed": "✗", "not applicable": "–", "under-declared": "+", "not run": "?"}
SHOWN_FAILURES = 20
_GREEN, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


def as_text(reports: Sequence[StoreReport], *, colour: bool = False) -> str:
    """The report for people: a header, a line per area, the failures, the verdict; several stores side by side."""
    parts: list[str] = []
    for report in reports:
        parts += _store(report, _paint if colour else _leave)
    if len(reports) > 1:
        parts += ["", *_side_by_side(reports)]
    return "\n".join(parts) + "\n"


def _paint(text: str, code: str) -> str:
    return f"{code}{text}{_PLAIN}"


def _leave(text: str, code: str) -> str:
    del code
    return text


def _store(report: StoreReport, paint: Any) -> list[str]:
    lines = ["", paint(report.subject.name, _BOLD), *_header(report), "", *_areas(report)]
    lines += _inapplicable(report) + _unwritten(report) + _failures(report) + _not_run(report) + _under_declared(report)
    times = ", ".join(f"{mode} {report.seconds(mode):.1f} s" for mode in DRIVERS if report.seconds(mode))
    counts = f"{report.executed} examples of {len(report.clauses)} clauses; {times}"
    return [*lines, "", paint(report.verdict, _GREEN if report.conformant else _RED) + f"  {counts}"]


def _not_run(report: StoreReport) -> list[str]:
    unrun = [each.clause for each in report.clauses if each.status == "not run"]
    return [f"{clause.id} ({clause.level}) could not be run: {clause.text}" for clause in unrun]


def _under_declared(report: StoreReport) -> list[str]:
    names = ", ".join(report.under_declared)
    return ["", f"under-declared: {names}; it held here: declare it, if it always does"] if names else []


def _header(report: StoreReport) -> list[str]:
    contract = ".".join(map(str, report.contract))
    declared = [f"{name}={value}" for name, value in report.subject.capabilities.items() if value is not False]
    return [
        f"  contract {contract}, suite {__version__}, session-continuity {version('session-continuity')}",
        f"  backend  {report.subject.label}: {report.subject.distribution}",
        f"  declares {', '.join(declared) or 'nothing'}",
        f"  modes    {_modes(report)}",
        f"  search   {report.effort}",
        *([f"  health   {report.subject.complaint}"] if report.subject.complaint else []),
    ]


def _modes(report: StoreReport) -> str:
    ran = {result.mode for result in report.results}
    shown = [name if name in ran else f"{name} (not run)" for name in DRIVERS]
    bridged = {"async", "blocking"} - report.subject.modes
    return ", ".join(shown) + "".join(f"; the store has no {name} mode, core bridges it" for name in bridged)


def _areas(report: StoreReport) -> list[str]:
    rows = [
        (f"{area:<4} {name}", _tally(mine), "".join(_MARKS[each.status] for each in mine))
        for area, name in areas().items()
        if (mine := [each for each in report.clauses if each.clause.area == area])
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"  {area:<{widths[0]}} {tally:<{widths[1]}} {marks}" for area, tally, marks in rows]


def _tally(clauses: Sequence[ClauseReport]) -> str:
    counts = {status: sum(clause.status == status for clause in clauses) for status in _MARKS}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def _inapplicable(report: StoreReport) -> list[str]:
    """What could not be asked of this store, by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in report.clauses:
        if each.status == "not applicable":
            reasons.setdefault(each.results[0].reason.partition(": ")[2], []).append(each.clause.id)
    told = [line for why, ids in reasons.items() for line in _hanging(f"{', '.join(ids)} not applicable: {why}")]
    return ["", *told] if told else []


def _unwritten(report: StoreReport) -> list[str]:
    """The methods that are not written yet, each with the clauses that wait for it."""
    waiting: dict[str, list[str]] = {}
    for result in report.findings():
        if result.finding is not None and result.finding.unwritten:
            clauses = waiting.setdefault(result.finding.unwritten, [])
            clauses += [] if result.clause in clauses else [result.clause]
    if not waiting:
        return []
    lines = [
        line
        for method, clauses in sorted(waiting.items(), key=lambda item: -len(item[1]))
        for line in [f"  {method}, for which {len(clauses)} wait:", *_indented(", ".join(clauses))]
    ]
    return ["", "not written yet (NotImplementedError):", *lines]


def _indented(text: str) -> list[str]:
    return wrap(text, 112, initial_indent="    ", subsequent_indent="    ")


def _hanging(text: str) -> list[str]:
    return wrap(text, 116, initial_indent="  ", subsequent_indent="      ")


def _failures(report: StoreReport) -> list[str]:
    found = [
        result
        for result in _first_per_clause(report.findings())
        if result.finding is None or not result.finding.unwritten
    ]
    lines: list[str] = []
    for result in found[:SHOWN_FAILURES]:
        lines += ["", *_failure(report, result)]
    rest = sorted({result.clause for result in found[SHOWN_FAILURES:]})
    if rest:
        lines += ["", f"… and {len(found) - SHOWN_FAILURES} more failures, of {', '.join(rest)}"]
    return lines


def _first_per_clause(results: Sequence[Result]) -> list[Result]:
    """One failure per clause and example; the other modes are named beside it."""
    found: dict[tuple[str, str], Result] = {}
    for result in results:
        found.setdefault((result.clause, result.example), result)
    return list(found.values())


def _failure(report: StoreReport, result: Result) -> list[str]:
    modes = [each.mode for each in report.findings() if (each.clause, each.example) == (result.clause, result.example)]
    lines = result.finding.lines() if result.finding is not None else [f"{result.clause} {result.reason}"]
    return [
        *lines,
        f"  modes:    {', '.join(modes)}",
        f"  again:    {again(report, result)}",
    ]


def again(report: StoreReport, result: Result) -> str:
    """The command that runs one clause again."""
    seed = report.effort.seed
    searched = "" if seed is None else f" --explore {report.effort.programs} --seed {seed}"
    asked = f"--clause {result.clause} --mode {result.mode}{searched}"
    return f"session-continuity conformance {report.subject.asked} {asked}"


def _side_by_side(reports: Sequence[StoreReport]) -> list[str]:
    """The stores in columns: areas, modes with their times, and the clauses on which they differ."""
    rows = [["", *(report.subject.label for report in reports)]]
    rows += [[f"{area} {name}", *(_score(report, area) for report in reports)] for area, name in areas().items()]
    rows += [[f"{mode} mode", *(_time(report, mode) for report in reports)] for mode in DRIVERS]
    rows += _differing(reports)
    rows.append(["verdict", *(report.judgement for report in reports)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [row for row in rows if any(cell != "" for cell in row[1:])]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def _score(report: StoreReport, area: str) -> str:
    """How many of the clauses of an area that bind the store hold."""
    bound = report.bound(area)
    passed = sum(clause.status == "passed" for clause in bound)
    return f"{_MARKS['passed' if passed == len(bound) else 'failed']} {passed}/{len(bound)}" if bound else ""


def _time(report: StoreReport, mode: str) -> str:
    results = [result for result in report.results if result.mode == mode and result.outcome in ("passed", "failed")]
    failed = sum(result.outcome == "failed" for result in results)
    broken = f", {failed} failed" if failed else ""
    return f"{len(results)} examples{broken}, {report.seconds(mode):.1f} s" if results else ""


def _differing(reports: Sequence[StoreReport]) -> list[list[str]]:
    """The clauses on which the stores differ, or that any of them breaks, with what became of them."""
    found: dict[str, dict[str, str]] = {}
    for report in reports:
        for clause in report.clauses:
            found.setdefault(clause.clause.id, {})[report.subject.label] = clause.status
    rows = [
        [name, *(statuses.get(report.subject.label, "not run") for report in reports)]
        for name, statuses in found.items()
    ]
    return [row for row in rows if set(row[1:]) - {"passed"}]
