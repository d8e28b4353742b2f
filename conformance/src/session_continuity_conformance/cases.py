"""One example of a clause, run on one store in one mode, and the finding when it fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final

import pytest

from session_continuity import WouldSuspendError
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.clauses import Clause, all_clauses
from session_continuity_conformance.drivers import driver
from session_continuity_conformance.options import ModeName
from session_continuity_conformance.recording import chain, layers, short, short_path, source_of
from session_continuity_conformance.reproducer import script
from session_continuity_conformance.store_fixture import (
    NotApplicableError,
    StoreFixture,
    UndecidedError,
    UnderDeclaredError,
)
from session_continuity_conformance.target import Target, native_mode

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


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken clause, ready to be shown.

    `done` are the calls that the example made, `where` is the place in the store's code. `program` repeats the calls
    where the example itself does not show them. `unwritten` is the method that raised NotImplementedError, where that
    is the only reason.
    """

    clause: str
    done: tuple[str, ...]
    expected: str
    observed: str
    where: str
    program: tuple[str, ...] = ()
    unwritten: str = ""

    def lines(self) -> list[str]:
        """The finding for people."""
        clause = all_clauses()[self.clause]
        return [
            f"{clause.id} ({clause.level}) {clause.text}",
            "  done:",
            *(f"    {line}" for line in self.done),
            f"  expected: {self.expected}",
            f"  observed: {self.observed}",
            f"  where:    {self.where}",
            f"  remedy:   {clause.remedy}",
            *(["  program:", *(f"    {line}".rstrip() for line in self.program)] if self.program else []),
        ]


class BrokenClauseError(AssertionError):
    """An example failed. The text of the error is the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines()))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Case:
    """The store and the mode that an example is run with.

    With `probing`, it is also run where the store does not declare the capability that its clause is on. `label` is the
    short name of the store in reports.
    """

    target: Target
    mode: ModeName
    effort: Effort = Effort()
    probing: bool = False
    label: str = ""

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
            raise BrokenClauseError(_finding(clause, store, error, scripted=scripted)) from error
        finally:
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


def _finding(clause: Clause, store: StoreFixture, error: Exception, *, scripted: bool) -> Finding:
    expected, observed = _contrast(error)
    return Finding(
        clause=clause.id,
        done=tuple(store.log.lines()),
        expected=expected,
        observed=observed,
        where=_where(store, error),
        program=_program(store, f"expected {expected}; observed {observed}") if scripted else (),
        unwritten=_unwritten(store, error),
    )


def _program(store: StoreFixture, complaint: str) -> tuple[str, ...]:
    target = store.target
    return tuple(script(store.log, target.name, native_mode(target, "blocking"), complaint).splitlines())


def _unwritten(store: StoreFixture, error: BaseException) -> str:
    """The method that is not written yet, where the example failed only because of that."""
    last, first_cause = store.log.last, chain(error)[-1]
    return last.method if isinstance(first_cause, NotImplementedError) and last is not None else ""


def _contrast(error: Exception) -> tuple[str, str]:
    """What was expected and what was observed."""
    if isinstance(error, ViolationError):
        return f"{error.what}: {error.expected}", error.observed
    if isinstance(error, WouldSuspendError):
        return "in blocking mode the method never suspends (SC-LIF-006)", short(error)
    return "the call succeeds, or raises what the contract names", short(error)


def _where(store: StoreFixture, error: Exception) -> str:
    """The innermost line of the store that the error came through, or else the method that returned last."""
    last = store.log.last
    if not store.adapters or last is None:
        return f"opening {store.target.name}"
    places = [] if isinstance(error, ViolationError) else list(_places(store, error))
    return places[-1] if places else source_of(store.raw, last.method)


def _places(store: StoreFixture, error: Exception) -> Iterator[str]:
    """The lines of the store and of its wrappers that the error came through, those of its causes last."""
    homes = {Path(inspect.getfile(type(layer))).parent for layer in layers(store.raw)}
    for each in chain(error):
        for frame, line in walk_tb(each.__traceback__):
            if Path(frame.f_code.co_filename).parent in homes:
                yield f"{short_path(frame.f_code.co_filename)}:{line} {frame.f_code.co_qualname}"
