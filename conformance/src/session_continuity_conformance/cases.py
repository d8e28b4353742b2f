"""One example of a clause, run on one store in one mode, and the finding when it fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from session_continuity_conformance.clauses import Clause, all_clauses
from session_continuity_conformance.drivers import driver
from session_continuity_conformance.findings import Finding, finding_of
from session_continuity_conformance.options import ModeName
from session_continuity_conformance.recording import short
from session_continuity_conformance.store_fixture import (
    NotApplicableError,
    Reservation,
    StoreFixture,
    UndecidedError,
    UnderDeclaredError,
)
from session_continuity_conformance.target import Target

Example = Callable[[StoreFixture], Coroutine[Any, Any, None]]
Test = Callable[["Case"], None]
Proof = Callable[["Case", Clause], None]

PARAMETER: Final = "sc_case"
CLAUSE_ATTRIBUTE: Final = "sc_clause"
PROOF_ATTRIBUTE: Final = "sc_proof"


@dataclass(frozen=True, slots=True)
class Effort:
    """The number of random programs, and of histories, per mode. Programs take at most so many seconds. Without a seed,
    every run tries the same programs and a few histories."""

    programs: int = 300
    seconds: float = 60.0
    seed: int | None = None

    def __str__(self) -> str:
        source = "the same in every run" if self.seed is None else f"seed {self.seed}"
        return f"{self.programs} programs per mode, {source}"


class BrokenClauseError(AssertionError):
    """An example failed. The text of the error is the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines()))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Case:
    """The store and the mode that an example is run with.

    With `probing`, it is also run where the store does not declare the capability that its clause is on. `label` is the
    short name of the store in reports. `reservations` are those of the examples that were run.
    """

    target: Target
    mode: ModeName
    effort: Effort = Effort()
    probing: bool = False
    label: str = ""
    reservations: list[Reservation] = field(default_factory=list[Reservation], compare=False)

    def run(self, clause: Clause, example: Example, *, scripted: bool = False) -> None:
        """Run the example.

        Raises BrokenClauseError when it fails; the finding has a program if `scripted`. Raises NotApplicableError when
        the clause does not apply to this store, and UnderDeclaredError when it holds although the store does not
        declare its capability.
        """
        with_driver = driver(self.mode)
        store = StoreFixture(self.target, with_driver)
        try:
            with_driver.run(_run(store, clause, example, probing=self.probing))
        except UndecidedError:
            raise
        except Exception as error:
            raise BrokenClauseError(finding_of(clause, store, error, scripted=scripted)) from error
        finally:
            self.reservations.extend(store.reservations)
            with_driver.close()


async def _run(store: StoreFixture, clause: Clause, example: Example, *, probing: bool) -> None:
    await store.start()
    if clause.binds(store.capabilities):
        await _run_and_clean_up(store, example)
        return
    undeclared = f"the store does not declare {clause.capability}"
    if not (probing and clause.is_on_a_feature):
        await store.finish()
        raise NotApplicableError(undeclared)
    store.declare(clause.declared_by)
    try:
        await _run_and_clean_up(store, example)
    except Exception as error:
        raise NotApplicableError(undeclared) from error
    raise UnderDeclaredError(undeclared)


async def _run_and_clean_up(store: StoreFixture, example: Example) -> None:
    try:
        await example(store)
    except BaseException:
        await _clean_up_after_failure(store)
        raise
    await store.finish()


async def _clean_up_after_failure(store: StoreFixture) -> None:
    """Clean up as far as possible. An error here must not hide the one that made the example fail."""
    store.log.stopped = True
    try:
        await store.finish()
    except Exception as error:
        store.log.note(f"cleaning up failed as well: {short(error)}")


def clause(name: str) -> Callable[[Example], Test]:
    """Mark a coroutine function as an example of a clause. It becomes a test function."""

    def mark(example: Example) -> Test:
        test = functools.update_wrapper(proves(name, lambda case, wanted: case.run(wanted, example)), example)
        parameter = inspect.Parameter(PARAMETER, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Case)
        test.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
        return test

    return mark


def proves(name: str, proof: Proof) -> Test:
    """A test function that tests a clause by calling `proof` with each case.

    It is synchronous, so that the async plugins of a host project leave it alone.
    """
    wanted = all_clauses()[name]

    def test(sc_case: Case) -> None:
        try:
            proof(sc_case, wanted)
        except UndecidedError as undecided:
            raise pytest.skip.Exception(f"{undecided.outcome}: {undecided}") from undecided

    setattr(test, CLAUSE_ATTRIBUTE, wanted.id)
    setattr(test, PROOF_ATTRIBUTE, proof)
    return test
