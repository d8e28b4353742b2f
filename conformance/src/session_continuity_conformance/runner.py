"""Runs the suite: pytest in this process, apart from the settings of any project, and a report for people."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from session_continuity_conformance import pytest_plugin
from session_continuity_conformance.findings import folded, leftovers_in
from session_continuity_conformance.options import SuiteOptions
from session_continuity_conformance.pytest_plugin import PROPERTY, reports_of
from session_continuity_conformance.reporting.documents import as_document, as_markdown
from session_continuity_conformance.reporting.render import as_text
from session_continuity_conformance.reporting.report import Result, StoreReport

CONFORMANT, NOT_CONFORMANT, NOTHING_RUN = 0, 1, 2

SUITE = "session_continuity_conformance.suite"
LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A run that has ended. `exit_code` is 0 when every store is conformant, 1 when one is not, 2 when none could be
    tested."""

    exit_code: int
    reports: Sequence[StoreReport] = ()

    def document(self) -> dict[str, Any]:
        """The results for programs, ready for JSON."""
        return as_document(self.reports)


def run(options: SuiteOptions, *, output: TextIO | None = None) -> SuiteRun:
    """Test stores, print a report to `output` (standard output unless given), and write the files asked for.

    After Ctrl-C the harnesses are stopped, and KeyboardInterrupt is raised.
    """
    stream = output or sys.stdout
    watcher = _Watcher(stream)
    captured = io.StringIO()
    with redirect_stdout(captured), redirect_stderr(captured), _hypothesis_elsewhere():
        code, unclosed = _run_pytest([*_isolation(), *options.pytest_arguments()], watcher)
    if watcher.interrupted:
        raise KeyboardInterrupt
    reports = watcher.reports
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not reports:
        stream.write(_complaint(captured.getvalue()))
        return SuiteRun(NOTHING_RUN)
    stream.write(as_text(reports, colour=_is_terminal(stream)))
    stream.writelines(f"warning: left open after the last example: {each}\n" for each in unclosed)
    if options.markdown is not None:
        options.markdown.write_text(as_markdown(reports), "utf-8")
    return SuiteRun(_exit_code(reports), reports)


def _run_pytest(arguments: list[str], watcher: _Watcher) -> tuple[int, list[str]]:
    """Run the suite, and return pytest's exit code with what was found open only at the end, which no example can be
    blamed for."""
    try:
        return pytest.main(arguments, plugins=[pytest_plugin, watcher]), []
    except (pytest.PytestUnraisableExceptionWarning, ExceptionGroup) as found:
        leftovers = leftovers_in(found)
        if not leftovers:
            raise
        return pytest.ExitCode.TESTS_FAILED, folded(leftovers)


def _exit_code(reports: Sequence[StoreReport]) -> int:
    if any(report.executed == 0 for report in reports):
        return NOTHING_RUN
    return CONFORMANT if all(report.conformant for report in reports) else NOT_CONFORMANT


def _isolation() -> list[str]:
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
        "--tb=native",  # findings replace tracebacks; the other forms parse source files for every failure
    ]


@contextmanager
def _hypothesis_elsewhere() -> Generator[None]:
    """While this lasts, hypothesis writes its files to a temporary directory and not to the working directory."""
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def _complaint(printed: str) -> str:
    """The end of what pytest printed when it could not run, without its decoration."""
    lines = [line.removeprefix("ERROR: ") for line in printed.splitlines() if line.strip()]
    return "\n".join(["nothing could run:", *(f"  {line}" for line in lines[-LAST_LINES:]), ""])


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


class _Watcher:
    """A pytest plugin that keeps the reports of the run, and shows its progress on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.reports: list[StoreReport] = []
        self.interrupted = False
        self._stream = stream
        self._total = self._done = self._failed = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY and report.when == "call" and _is_terminal(self._stream):
                self._show(Result.from_json(str(value)))

    def _show(self, result: Result) -> None:
        self._done += 1
        self._failed += result.outcome == "failed"
        line = f"{self._done}/{self._total}  {self._failed} failed  {result.clause} {result.target} {result.mode}"
        room = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{line[:room]}" if self._done < self._total else "\r\x1b[K")
        self._stream.flush()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.interrupted = excinfo.errisinstance(KeyboardInterrupt)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.reports = reports_of(session.config)
