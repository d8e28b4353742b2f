"""Reports for programs, and as a table for a README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from session_continuity_conformance._version import __version__
from session_continuity_conformance.clauses import areas
from session_continuity_conformance.options import MODES
from session_continuity_conformance.reporting.report import ClauseReport, StoreReport, written


def as_document(reports: Sequence[StoreReport]) -> dict[str, Any]:
    """The reports as dictionaries and lists, ready for JSON."""
    return {"suite": __version__, "stores": [_store(report) for report in reports]}


def _store(report: StoreReport) -> dict[str, Any]:
    return {
        "store": report.subject.name,
        "label": report.subject.label,
        "distribution": report.subject.distribution,
        "health": report.subject.complaint or "healthy",
        "contract": written(report.contract),
        "capabilities": report.subject.capabilities,
        "verdict": report.verdict,
        "conformant": report.conformant,
        "partial": report.partial,
        "reservations": [{**asdict(each), "clauses": ids} for each, ids in report.reservations.items()],
        "under_declared": report.under_declared,
        "search": str(report.effort),
        "seconds": {mode: round(report.seconds(mode), 3) for mode in MODES},
        "clauses": [_clause(each) for each in report.clauses],
        "newer_clauses": [{"id": clause.id, "since": written(clause.since)} for clause in report.newer],
    }


def _clause(report: ClauseReport) -> dict[str, Any]:
    return {
        "id": report.clause.id,
        "level": report.clause.level,
        "text": report.clause.text,
        "status": report.status,
        "results": [asdict(result) for result in report.results],
    }


def as_markdown(reports: Sequence[StoreReport]) -> str:
    """A table with a row per area and a column per store."""
    labels = [f"`{report.subject.label}`" for report in reports]
    lines = [
        f"| clause | {' | '.join(labels)} |",
        f"|---|{'---|' * len(reports)}",
        *(_row(area, name, reports) for area, name in areas().items() if _is_covered(area, reports)),
        f"| **verdict** | {' | '.join(f'**{report.verdict}**' for report in reports)} |",
    ]
    return "\n".join(lines) + "\n"


def _is_covered(area: str, reports: Sequence[StoreReport]) -> bool:
    return any(clause.clause.area == area for report in reports for clause in report.clauses)


def _row(area: str, name: str, reports: Sequence[StoreReport]) -> str:
    cells = [_cell(report.bound(area)) for report in reports]
    return f"| {area} {name} | {' | '.join(cells)} |"


def _cell(bound: Sequence[ClauseReport]) -> str:
    broken = [clause.clause.id for clause in bound if clause.status != "passed"]
    passed = f"{len(bound) - len(broken)}/{len(bound)}"
    return f"✗ {passed}: {', '.join(broken)}" if broken else f"✓ {passed}"
