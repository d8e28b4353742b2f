"""The suite's pytest plugin: the options that name stores, and a verdict for each store.

It does nothing without those options. It adds no fixture, no marker and no hook that touches other tests.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from session_continuity import SessionContinuityError
from session_continuity_conformance.cases import CLAUSE_ATTRIBUTE, PARAMETER, BrokenClauseError, Case
from session_continuity_conformance.findings import Finding, finding_of_leftovers, leftovers_in
from session_continuity_conformance.options import Option, SuiteOptions, options
from session_continuity_conformance.reporting.report import Outcome, Result, StoreReport
from session_continuity_conformance.selection import Selection
from session_continuity_conformance.store_fixture import UndecidedError

PROPERTY = "session_continuity"
OWN = "--sc-"

_SELECTION = pytest.StashKey[Selection]()
_RESULTS = pytest.StashKey[list[Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("session-continuity", "session-continuity conformance")
    for option, name in _own_options():
        several: dict[str, Any] = {"action": "append", "default": []} if option.repeatable else {}
        group.addoption(
            name,
            **{"default": option.default, "type": option.type, **several},
            metavar=option.metavar,
            help=option.help,
        )


def _options_of(config: pytest.Config) -> SuiteOptions:
    """The suite's options in pytest's command line."""
    values: dict[str, Any] = {option.name: config.getoption(name) for option, name in _own_options()}
    return SuiteOptions(**values)


def _own_options() -> Iterator[tuple[Option, str]]:
    """The options that this plugin adds to pytest, with their names there."""
    for option in options():
        if option.pytest is not None and option.pytest.startswith(OWN):
            yield option, option.pytest


def pytest_configure(config: pytest.Config) -> None:
    try:
        wanted = _options_of(config)
        if not (wanted.urls or wanted.harness):
            return
        selection = config.stash[_SELECTION] = Selection(wanted)
        config.stash[_RESULTS] = []
        config.pluginmanager.register(_Collector(config), "session-continuity-results")
        selection.start()
    except SessionContinuityError as error:
        pytest_unconfigure(config)
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
        raise pytest.UsageError("the conformance suite needs a store: add --sc-url=URL or --sc-harness=MODULE:NAME")
    cases = selection.cases(clause)
    metafunc.parametrize(PARAMETER, list(cases.values()), ids=list(cases))


def reports_of(config: pytest.Config) -> list[StoreReport]:
    """The reports of a run, one per store; none where no store was named."""
    selection = config.stash.get(_SELECTION, None)
    if selection is None:
        return []
    results = config.stash[_RESULTS]
    return selection.reports(results)


class _Collector:
    """The hooks of a run that tests stores: it collects the results.

    Each result travels as JSON in the `user_properties` of its report, because those are what pytest-xdist brings from
    its workers.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out examples without a case. Pytest would report them as skipped."""
        dropped = [item for item in items if _clause_of(item) is not None and _case_of(item) is None]
        if dropped:
            self._config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if item not in dropped]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        clause, case = _clause_of(item), _case_of(item)
        if clause is not None and case is not None and call.when == "call":
            result = _result(clause, case, item, report, None if call.excinfo is None else call.excinfo.value)
            if result.finding is not None:
                report.longrepr = "\n".join(result.finding.lines())
            report.user_properties.append((PROPERTY, result.as_json()))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        results = [Result.from_json(str(value)) for name, value in report.user_properties if name == PROPERTY]
        if report.when == "call":
            self._config.stash[_RESULTS].extend(results)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for report in reports_of(self._config):
            terminalreporter.write_line(f"{report.subject.name}: {report.verdict}")


def _result(
    clause: str, case: Case, item: pytest.Item, report: pytest.TestReport, error: BaseException | None
) -> Result:
    outcome, reason = _outcome(report, error)
    return Result(
        clause=clause,
        example=getattr(item, "originalname", item.name),
        target=case.label,
        mode=case.mode,
        outcome=outcome,
        reason=reason,
        seconds=report.duration,
        finding=_finding(clause, error),
        reservations=tuple(dict.fromkeys(case.reservations)),
    )


def _finding(clause: str, error: BaseException | None) -> Finding | None:
    if isinstance(error, BrokenClauseError):
        return error.finding
    leftovers = leftovers_in(error)
    return finding_of_leftovers(clause, leftovers) if leftovers else None


def _outcome(report: pytest.TestReport, error: BaseException | None) -> tuple[Outcome, str]:
    """How an example ended, and why where it did not pass."""
    undecided = None if error is None else error.__cause__
    if isinstance(undecided, UndecidedError):
        return undecided.outcome, str(undecided)
    if report.passed:
        return "passed", ""
    return ("skipped" if report.skipped else "failed"), str(error or report.longrepr)


def _clause_of(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "function", None), CLAUSE_ATTRIBUTE, None)


def _case_of(item: pytest.Item) -> Case | None:
    case = getattr(getattr(item, "callspec", None), "params", {}).get(PARAMETER)
    return case if isinstance(case, Case) else None
