"""The pytest plugin: stores come in by `--sc-url` or `--sc-harness`, results leave for a report.

Inert without those options: it adds no fixture, no marker and no hook that touches other tests.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from session_continuity import SessionContinuityError
from session_continuity_conformance.cases import CLAUSE_ATTRIBUTE, PARAMETER, BrokenClauseError, Case
from session_continuity_conformance.clauses import Contract, all_clauses, parse_contract
from session_continuity_conformance.drivers import DRIVERS, DriverName
from session_continuity_conformance.harness import Harness
from session_continuity_conformance.report import Result
from session_continuity_conformance.target import Target, UrlTarget

PROPERTY = "session_continuity"
NOT_APPLICABLE = "not applicable: "


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
    group.addoption("--sc-contract", default=None, metavar="MAJOR.MINOR", help="the contract to judge by")


@dataclass
class Selection:
    """What the options ask for."""

    targets: dict[str, Target]
    modes: tuple[DriverName, ...]
    clauses: tuple[str, ...]
    contract: Contract | None
    harnesses: list[Harness] = field(default_factory=list[Harness])

    def cases(self, clause: str) -> dict[str, Case]:
        """Where an example of this clause is run, by test id."""
        if self.clauses and not clause.startswith(self.clauses):
            return {}
        return {
            f"{clause}-{label}-{mode}": Case(target, mode)
            for label, target in self.targets.items()
            if all_clauses()[clause].since <= (self.contract or target.contract)
            for mode in self.modes
            if ("blocking" if mode == "blocking" else "async") in target.modes
        }


_SELECTION = pytest.StashKey[Selection]()


def pytest_configure(config: pytest.Config) -> None:
    if not (config.option.sc_url or config.option.sc_harness):
        return
    contract = config.option.sc_contract
    try:
        harnesses = [Harness(name) for name in config.option.sc_harness]
        targets: list[Target] = [UrlTarget(url) for url in config.option.sc_url]
        for harness in harnesses:
            targets += harness.start()
        selection = Selection(
            labelled(targets),
            tuple(config.option.sc_mode) or DRIVERS,
            tuple(config.option.sc_clause),
            parse_contract(contract) if contract else None,
            harnesses,
        )
    except SessionContinuityError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_SELECTION] = selection


def pytest_unconfigure(config: pytest.Config) -> None:
    selection = config.stash.get(_SELECTION, None)
    for harness in selection.harnesses if selection else ():
        harness.stop()


def selection_of(config: pytest.Config) -> Selection | None:
    """What the options of this run ask for; None where they ask for nothing."""
    return config.stash.get(_SELECTION, None)


def labelled(targets: list[Target]) -> dict[str, Target]:
    """Each target under a short name of its own: its scheme, numbered from the second on."""
    found: dict[str, Target] = {}
    for target in targets:
        number = sum(other.scheme == target.scheme for other in found.values())
        found[f"{target.scheme}{number + 1 if number else ''}"] = target
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    clause = getattr(metafunc.function, CLAUSE_ATTRIBUTE, None)
    if clause is None:
        return
    selection = selection_of(metafunc.config)
    if selection is None:
        raise pytest.UsageError("the conformance suite needs a store: state --sc-url=URL or --sc-harness=MODULE:NAME")
    cases = selection.cases(clause)
    metafunc.parametrize(PARAMETER, list(cases.values()), ids=list(cases))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out examples for which nothing was asked: pytest makes a skipped item of an empty parameter list."""
    if selection_of(config) is None:
        return
    kept = [item for item in items if _clause_of(item) is None or isinstance(_params(item).get(PARAMETER), Case)]
    dropped = [item for item in items if item not in set(kept)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _clause_of(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "function", None), CLAUSE_ATTRIBUTE, None)


def _params(item: pytest.Item) -> dict[str, Any]:
    return cast("dict[str, Any]", getattr(getattr(item, "callspec", None), "params", {}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    clause = _clause_of(item)
    if clause is None or call.when != "call":
        return report
    broken = (
        call.excinfo.value if call.excinfo is not None and isinstance(call.excinfo.value, BrokenClauseError) else None
    )
    if broken is not None:
        report.longrepr = "\n".join(broken.finding.lines()) + f"\n\n{_trace(call)}"
    result = _result(item, clause, report, broken)
    report.user_properties.append((PROPERTY, result.as_json()))
    return report


def _trace(call: pytest.CallInfo[None]) -> str:
    """The error that the adapter raised, where it was one; a violation says everything in its finding."""
    if call.excinfo is None:
        return ""
    cause = call.excinfo.value.__cause__
    return "" if cause is None or isinstance(cause, AssertionError) else f"{type(cause).__name__}: {cause}"


def _result(item: pytest.Item, clause: str, report: pytest.TestReport, broken: BrokenClauseError | None) -> Result:
    params = _params(item)
    label = params_id(item).removeprefix(f"{clause}-").rpartition("-")[0]
    return Result(
        clause=clause,
        example=getattr(item, "originalname", item.name),
        target=label,
        mode=params[PARAMETER].mode,
        outcome=_outcome(report),
        reason=_reason(report),
        seconds=report.duration,
        finding=broken.finding if broken is not None else None,
    )


def params_id(item: pytest.Item) -> str:
    """The id in the brackets of a test's name."""
    return str(getattr(getattr(item, "callspec", None), "id", ""))


def _outcome(report: pytest.TestReport) -> str:
    if report.skipped:
        return "not applicable" if _reason(report).startswith(NOT_APPLICABLE) else "skipped"
    return "passed" if report.passed else "failed"


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr) if report.failed else ""
