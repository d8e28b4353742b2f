"""The suite as a command: runs pytest in this process, apart from any project's settings, and prints a report."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import pytest

from session_continuity_conformance import plugin
from session_continuity_conformance.clauses import clauses_of, parse_contract
from session_continuity_conformance.plugin import PROPERTY, selection_of
from session_continuity_conformance.render import as_json, as_markdown, as_text
from session_continuity_conformance.report import Result, StoreReport, Subject

CONFORMANT, NOT_CONFORMANT, NOTHING_RUN = 0, 1, 2

SUITE = "session_continuity_conformance.suite"


def run(
    urls: Sequence[str],
    *,
    harness: Sequence[str] = (),
    mode: Sequence[str] = (),
    clause: Sequence[str] = (),
    contract: str | None = None,
    json: str | os.PathLike[str] | None = None,
    junit: str | os.PathLike[str] | None = None,
    markdown: str | os.PathLike[str] | None = None,
    output: TextIO | None = None,
) -> int:
    """Test the stores that these URLs (and harnesses) name, print a report and write the files asked for.

    `mode` (async, blocking, portal) and `clause` (ids, or how they begin) narrow the run; `contract` pins another
    than the stores' own. Returns 0 when every store is conformant, 1 when one is not, 2 when nothing could run.
    """
    stream = output or sys.stdout
    collector = _Collector(stream)
    arguments = [*_isolated(), *_options(urls, harness, mode, clause, contract)]
    if junit is not None:
        arguments.append(f"--junitxml={junit}")
    captured = io.StringIO()
    with redirect_stdout(captured), redirect_stderr(captured):
        code = pytest.main(arguments, plugins=[plugin, collector])
    reports = collector.reports(contract, partial=bool(mode or clause))
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not reports:
        print(_complaint(captured.getvalue()), file=stream)
        return NOTHING_RUN
    stream.write(as_text(reports, urls, colour=_colour(stream)))
    if json is not None:
        Path(json).write_text(as_json(reports), "utf-8")
    if markdown is not None:
        Path(markdown).write_text(as_markdown(reports), "utf-8")
    return _exit_code(reports)


def _exit_code(reports: Sequence[StoreReport]) -> int:
    if any(report.executed == 0 for report in reports):
        return NOTHING_RUN
    return CONFORMANT if all(report.conformant for report in reports) else NOT_CONFORMANT


def _isolated() -> list[str]:
    """Arguments that keep the settings and plugins of the surrounding project out."""
    return [
        "--pyargs",
        SUITE,
        "-c",
        os.devnull,
        f"--rootdir={Path(__file__).parent}",
        "--noconftest",
        "--disable-plugin-autoload",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "-q",
    ]


def _options(
    urls: Sequence[str], harness: Sequence[str], mode: Sequence[str], clause: Sequence[str], contract: str | None
) -> list[str]:
    return [
        *(f"--sc-url={url}" for url in urls),
        *(f"--sc-harness={name}" for name in harness),
        *(f"--sc-mode={name}" for name in mode),
        *(f"--sc-clause={name}" for name in clause),
        *([f"--sc-contract={contract}"] if contract else []),
    ]


def _complaint(said: str) -> str:
    """What pytest said when it could not run, without its decoration."""
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.strip()]
    return "\n".join(["nothing could run:", *(f"  {line}" for line in lines[-12:])])


def _colour(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


class _Collector:
    """Gathers results from pytest's reports, and shows on a terminal how far the run is."""

    def __init__(self, stream: TextIO) -> None:
        self._results: list[Result] = []
        self._subjects: list[tuple[Subject, tuple[int, int]]] = []
        self._stream = stream
        self._total = 0
        self._clauses: tuple[str, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        selection = selection_of(session.config)
        self._total = len(session.items)
        if selection is None:
            return
        for label, target in selection.targets.items():
            capabilities = asdict(target.open(next(iter(target.modes)), "").capabilities)
            subject = Subject(
                label=label, name=target.name, distribution=target.distribution, capabilities=capabilities
            )
            self._subjects.append((subject, selection.contract or target.contract))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self._results.append(Result.from_json(str(value)))
                self._show()

    def _show(self) -> None:
        if self._stream.isatty():
            failed = sum(result.outcome == "failed" for result in self._results)
            end = "\r" if len(self._results) < self._total else "\r\x1b[K"
            self._stream.write(f"\r\x1b[K{len(self._results)}/{self._total}, {failed} failed{end}")
            self._stream.flush()

    def reports(self, contract: str | None, *, partial: bool) -> list[StoreReport]:
        asked = parse_contract(contract) if contract else None
        return [
            StoreReport.of(subject, asked or written, self._results, clauses_of(asked or written), partial=partial)
            for subject, written in self._subjects
        ]
