"""Reports for programs (JSON) and for a README (Markdown)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from session_continuity_conformance._version import __version__
from session_continuity_conformance.clauses import areas
from session_continuity_conformance.drivers import DRIVERS
from session_continuity_conformance.reporting.report import ClauseReport, StoreReport


def as_json(reports: Sequence[StoreReport]) -> str:
    """The report for programs."""
    return json.dumps({"suite": __version__, "stores": [_document(report) for report in reports]}, indent=2)


def _document(report: StoreReport) -> Mapping[str, Any]:
    return {
        "store": report.subject.name,
        "label": report.subject.label,
        "distribution": report.subject.distribution,
        "health": report.subject.complaint or "healthy",
        "contract": ".".join(map(str, report.contract)),
        "capabilities": report.subject.capabilities,
        "verdict": report.verdict,
        "conformant": report.conformant,
        "partial": report.partial,
        "under_declared": report.under_declared,
        "search": str(report.effort),
        "seconds": {mode: round(report.seconds(mode), 3) for mode in DRIVERS},
        "clauses": [
            {
                "id": each.clause.id,
                "level": each.clause.level,
                "text": each.clause.text,
                "status": each.status,
                "results": [asdict(result) for result in each.results],
            }
            for each in report.clauses
        ],
    }


def as_markdown(reports: Sequence[StoreReport]) -> str:
    """A matrix of areas and clauses for a plugin's README."""
    names = [f"`{report.subject.label}`" for report in reports]
    lines = [
        f"| clause | {' | '.join(names)} |",
        f"|---|{'---|' * len(reports)}",
        *(_row(area, name, reports) for area, name in areas().items() if _has(area, reports)),
        f"| **verdict** | {' | '.join(f'**{report.verdict}**' for report in reports)} |",
    ]
    return "\n".join(lines) + "\n"


def _has(area: str, reports: Sequence[StoreReport]) -> bool:
    return any(clause.clause.area == area for report in reports for clause in report.clauses)


def _row(area: str, name: str, reports: Sequence[StoreReport]) -> str:
    cells = [_cell(report.bound(area)) for report in reports]
    return f"| {area} {name} | {' | '.join(cells)} |"


def _cell(bound: Sequence[ClauseReport]) -> str:
    broken = [clause.clause.id for clause in bound if clause.status != "passed"]
    passed = f"{len(bound) - len(broken)}/{len(bound)}"
    return f"✗ {passed}: {', '.join(broken)}" if broken else f"✓ {passed}"
