"""The pytest plugin: stores come in by `--sc-url` or `--sc-harness`, a verdict per store comes out.

Inert without those options: it adds no fixture, no marker and no hook that touches other tests.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import pytest

from session_continuity import SessionContinuityError
from session_continuity_conformance.cases import CLAUSE_ATTRIBUTE, PARAMETER, BrokenClauseError, Case
from session_continuity_conformance.drivers import DRIVERS
from session_continuity_conformance.reporting.report import Outcome, Result, StoreReport
from session_continuity_conformance.selection import Selection, effort_of

PROPERTY = "session_continuity"
_WITHOUT_VERDICT: dict[str, Outcome] = {"not applicable": "not applicable", "under-declared": "under-declared"}

_SELECTION = pytest.StashKey[Selection]()
_RESULTS: pytest.StashKey[list[Result]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("session-continuity", "session-continuity conformance")
    group.addoption("--sc-url", action="append", default=[], metavar="URL", help="a store to test; may be repeated")
    group.addoption(
        "--sc-harness",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a callable whose context manager starts a store and yields its URLs or targets; may be repeated",
    )
    group.addoption(
        "--sc-mode", action="append", default=[], choices=DRIVERS, help="run in this mode only; may be repeated"
    )
    group.addoption("--sc-clause", action="append", default=[], metavar="ID", help="run clauses that begin with this")
    group.addoption(
        "--sc-explore", type=int, default=0, metavar="N", help="try N random programs per mode, others in every run"
    )
    group.addoption("--sc-seed", type=int, default=None, metavar="N", help="the seed of --sc-explore, to repeat it")
    group.addoption("--sc-contract", default=None, metavar="MAJOR.MINOR", help="the contract to judge by")


def pytest_configure(config: pytest.Config) -> None:
    asked = config.option
    if not (asked.sc_url or asked.sc_harness):
        return
    selection = Selection(
        modes=tuple(asked.sc_mode) or DRIVERS,
        clauses=tuple(asked.sc_clause),
        effort=effort_of(asked.sc_explore, asked.sc_seed),
    )
    config.stash[_SELECTION] = selection
    config.stash[_RESULTS] = []
    config.pluginmanager.register(_Gathering(config), "session-continuity-results")
    try:
        selection.start(asked.sc_url, asked.sc_harness, asked.sc_contract)
    except SessionContinuityError as error:
        selection.stop()
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    selection = config.stash.get(_SELECTION, None)
    if selection is not None:
        selection.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    clause = getattr(metafunc.function, CLAUSE_ATTRIBUTE, None)
    if clause is None:
        return
    selection = metafunc.config.stash.get(_SELECTION, None)
    if selection is None:
        raise pytest.UsageError("the conformance suite needs a store: state --sc-url=URL or --sc-harness=MODULE:NAME")
    cases = selection.cases(clause)
    metafunc.parametrize(PARAMETER, list(cases.values()), ids=list(cases))


def reports_of(config: pytest.Config) -> list[StoreReport]:
    """What the run found, per store; empty where it was not asked to find anything."""
    selection = config.stash.get(_SELECTION, None)
    if selection is None:
        return []
    results: list[Result] = config.stash[_RESULTS]
    return selection.reports(results)


class _Gathering:
    """The hooks of a run that was asked to test stores."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out examples that nobody asked for: pytest makes a skipped item of an empty list of cases."""
        dropped = [item for item in items if _clause_of(item) is not None and not isinstance(_case_of(item), Case)]
        if dropped:
            self._config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if item not in dropped]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        clause = _clause_of(item)
        if clause is not None and call.when == "call":
            broken = call.excinfo.value if call.excinfo is not None else None
            finding = broken.finding if isinstance(broken, BrokenClauseError) else None
            if finding is not None:
                report.longrepr = "\n".join(finding.lines())
            result = Result(
                clause=clause,
                example=getattr(item, "originalname", item.name),
                target=_label(item, clause),
                mode=cast("Case", _case_of(item)).mode,
                outcome=_outcome(report),
                reason=_reason(report),
                seconds=report.duration,
                finding=finding,
            )
            report.user_properties.append((PROPERTY, result.as_json()))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        results = [Result.from_json(str(value)) for name, value in report.user_properties if name == PROPERTY]
        if report.when == "call":
            known: list[Result] = self._config.stash[_RESULTS]
            known.extend(results)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for report in reports_of(self._config):
            terminalreporter.write_line(f"{report.subject.name}: {report.verdict}")


def _clause_of(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "function", None), CLAUSE_ATTRIBUTE, None)


def _case_of(item: pytest.Item) -> object:
    return getattr(getattr(item, "callspec", None), "params", {}).get(PARAMETER)


def _label(item: pytest.Item, clause: str) -> str:
    case_id = str(getattr(getattr(item, "callspec", None), "id", ""))
    return case_id.removeprefix(f"{clause}-").rpartition("-")[0]


def _outcome(report: pytest.TestReport) -> Outcome:
    if report.skipped:
        return _WITHOUT_VERDICT.get(_reason(report).partition(":")[0], "skipped")
    return "passed" if report.passed else "failed"


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr) if report.failed else ""
