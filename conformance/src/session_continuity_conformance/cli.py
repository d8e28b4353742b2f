"""The suite as a command: runs pytest in this process, apart from any project's settings, and prints a report."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from session_continuity_conformance import plugin
from session_continuity_conformance.plugin import PROPERTY, reports_of
from session_continuity_conformance.reporting.documents import as_json, as_markdown
from session_continuity_conformance.reporting.render import as_text
from session_continuity_conformance.reporting.report import Result, StoreReport

CONFORMANT, NOT_CONFORMANT, NOTHING_RUN = 0, 1, 2

SUITE = "session_continuity_conformance.suite"

PathLike = str | os.PathLike[str]


def run(
    urls: Sequence[str],
    *,
    harness: Sequence[str] = (),
    mode: Sequence[str] = (),
    clause: Sequence[str] = (),
    contract: str | None = None,
    explore: int = 0,
    seed: int | None = None,
    json: PathLike | None = None,
    junit: PathLike | None = None,
    markdown: PathLike | None = None,
    output: TextIO | None = None,
) -> int:
    """Test the stores that these URLs (and harnesses) name, print a report and write the files asked for.

    `mode` (async, blocking, portal) and `clause` (ids, or how they begin) narrow the run; `contract` pins another
    than the stores' own; `explore` tries so many random programs per mode, `seed` repeats them. Returns 0 when every
    store is conformant, 1 when one is not, 2 when nothing could run.
    Ctrl-C stops the harnesses before it is raised.
    """
    stream = output or sys.stdout
    watcher = _Watcher(stream)
    several = {"sc-url": urls, "sc-harness": harness, "sc-mode": mode, "sc-clause": clause}
    single = {"sc-contract": contract, "sc-explore": explore or None, "sc-seed": seed, "junitxml": junit}
    arguments = [*_isolated(), *(f"--{name}={value}" for name, values in several.items() for value in values)]
    arguments += [f"--{name}={value}" for name, value in single.items() if value is not None]
    captured = io.StringIO()
    with redirect_stdout(captured), redirect_stderr(captured), _no_trace_of_hypothesis():
        code, left_behind = _run_pytest(arguments, watcher)
    if watcher.interrupted:
        raise KeyboardInterrupt
    reports = watcher.reports
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not reports:
        stream.write(_complaint(captured.getvalue()))
        return NOTHING_RUN
    stream.write(as_text(reports, colour=_is_lively(stream)))
    stream.writelines(f"warning: left behind after the last example: {each}\n" for each in left_behind)
    for path, render in ((json, as_json), (markdown, as_markdown)):
        if path is not None:
            Path(path).write_text(render(reports), "utf-8")
    return _exit_code(reports)


def _run_pytest(arguments: list[str], watcher: _Watcher) -> tuple[int, list[str]]:
    """Run the suite. What is found to be left open only at the very end is returned, as no example can be blamed."""
    try:
        return pytest.main(arguments, plugins=[plugin, watcher]), []
    except (pytest.PytestUnraisableExceptionWarning, ExceptionGroup) as found:
        each = found.exceptions if isinstance(found, ExceptionGroup) else [found]
        return pytest.ExitCode.TESTS_FAILED, [str(error.__cause__ or error) for error in each]


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
        "--tb=native",  # the findings take its place; the other forms parse source files for every failure
    ]


@contextmanager
def _no_trace_of_hypothesis() -> Generator[None]:
    """Hypothesis keeps its notes elsewhere than in the working directory."""
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def _complaint(said: str) -> str:
    """What pytest said when it could not run, without its decoration."""
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.strip()]
    return "\n".join(["nothing could run:", *(f"  {line}" for line in lines[-12:]), ""])


def _is_lively(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


class _Watcher:
    """Keeps the reports of the run, and shows on a terminal how far it is."""

    def __init__(self, stream: TextIO) -> None:
        self.reports: list[StoreReport] = []
        self.interrupted = False
        self._stream = stream
        self._total = self._done = self._failed = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY and report.when == "call" and _is_lively(self._stream):
                self._show(Result.from_json(str(value)))

    def _show(self, result: Result) -> None:
        self._done += 1
        self._failed += result.outcome == "failed"
        told = f"{self._done}/{self._total}  {self._failed} failed  {result.clause} {result.target} {result.mode}"
        room = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{told[:room]}" if self._done < self._total else "\r\x1b[K")
        self._stream.flush()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.interrupted = excinfo.errisinstance(KeyboardInterrupt)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.reports = reports_of(session.config)
