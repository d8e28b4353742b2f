"""An example and its clause, run on one store in one mode; and what to say when it fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any, Final

import pytest

from session_continuity import WouldSuspendError
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.clauses import Clause, all_clauses
from session_continuity_conformance.drivers import DriverName, driver
from session_continuity_conformance.recording import short, short_path, source_of
from session_continuity_conformance.scripting import script
from session_continuity_conformance.store import NotApplicableError, Store, UnderDeclaredError
from session_continuity_conformance.target import Target, native_mode

Example = Callable[[Store], Coroutine[Any, Any, None]]
Test = Callable[["Case"], None]
Proof = Callable[["Case", Clause], None]

PARAMETER: Final = "sc_case"
CLAUSE_ATTRIBUTE: Final = "sc_clause"
PROOF_ATTRIBUTE: Final = "sc_proof"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is searched: so many programs per mode, for at most so many seconds. Without a seed they are the same
    in every run."""

    programs: int = 300
    seconds: float = 60.0
    seed: int | None = None

    def __str__(self) -> str:
        chosen = "the same in every run" if self.seed is None else f"seed {self.seed}"
        return f"{self.programs} programs per mode, {chosen}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken clause, ready to be read. `program` does it again, where that is not plain from the example;
    `unwritten` is the method that raised NotImplementedError, where that is all."""

    clause: str
    done: tuple[str, ...]
    expected: str
    observed: str
    where: str
    program: tuple[str, ...] = ()
    unwritten: str = ""

    def lines(self) -> list[str]:
        """The finding for people, in the order in which they need it."""
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
    """An example failed; its text is the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__("\n".join(finding.lines()))
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Case:
    """Where an example is run; with `probing`, also where the store does not declare what it needs."""

    target: Target
    mode: DriverName
    effort: Effort = Effort()
    probing: bool = False

    def run(self, clause: Clause, example: Example, *, scripted: bool = False) -> None:
        """Run the example. Raises BrokenClauseError when it fails, with a program where `scripted`,
        NotApplicableError when the clause does not bind this store, and UnderDeclaredError when it holds all the
        same."""
        with_driver = driver(self.mode)
        store = Store(self.target, with_driver)
        try:
            with_driver.run(_play(store, clause, example, probing=self.probing))
        except (NotApplicableError, UnderDeclaredError):
            raise
        except Exception as error:
            raise BrokenClauseError(_finding(clause, store, error, scripted=scripted)) from error
        finally:
            with_driver.close()


async def _play(store: Store, clause: Clause, example: Example, *, probing: bool) -> None:
    await store.start()
    if clause.binds(store.capabilities):
        await _perform(store, example)
        return
    undeclared = f"the store does not declare {clause.capability}"
    if not (probing and clause.is_on_a_feature):
        await store.finish()
        raise NotApplicableError(undeclared)
    try:
        await _perform(store, example)
    except Exception as error:
        raise NotApplicableError(undeclared) from error
    raise UnderDeclaredError(undeclared)


async def _perform(store: Store, example: Example) -> None:
    try:
        await example(store)
    except BaseException:
        await _abandon(store)
        raise
    await store.finish()


async def _abandon(store: Store) -> None:
    """Clean up after a failure as far as it goes: what matters then is the first error, not those that follow."""
    store.log.stopped = True
    try:
        await store.finish()
    except Exception as error:
        store.log.note(f"cleaning up failed as well: {short(error)}")


def clause(name: str) -> Callable[[Example], Test]:
    """Marks an example as the proof of a clause, and makes it an ordinary test function."""

    def mark(example: Example) -> Test:
        test = functools.update_wrapper(proves(name, lambda case, wanted: case.run(wanted, example)), example)
        parameter = inspect.Parameter(PARAMETER, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Case)
        test.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
        return test

    return mark


def proves(name: str, proof: Proof) -> Test:
    """A test function that proves a clause.

    It is synchronous, so that no plugin of a host project takes it for a coroutine of its own.
    """
    wanted = all_clauses()[name]

    def test(sc_case: Case) -> None:
        try:
            proof(sc_case, wanted)
        except NotApplicableError as reason:
            pytest.skip(f"not applicable: {reason}")
        except UnderDeclaredError as reason:
            pytest.skip(f"under-declared: {reason}")

    setattr(test, CLAUSE_ATTRIBUTE, wanted.id)
    setattr(test, PROOF_ATTRIBUTE, proof)
    return test


def _finding(clause: Clause, store: Store, error: Exception, *, scripted: bool) -> Finding:
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


def _program(store: Store, told: str) -> tuple[str, ...]:
    target = store.target
    return tuple(script(store.log, target.name, native_mode(target, "blocking"), told).splitlines())


def _unwritten(store: Store, error: BaseException) -> str:
    """The method that is not written yet, where the example came no further than that."""
    last, raised = store.log.last, error if error.__cause__ is None else error.__cause__
    return last.method if isinstance(raised, NotImplementedError) and last is not None else ""


def _contrast(error: Exception) -> tuple[str, str]:
    if isinstance(error, ViolationError):
        return f"{error.what}: {error.expected}", error.observed
    if isinstance(error, WouldSuspendError):
        return "in blocking mode the method never suspends (SC-LIF-006)", short(error)
    return "the call succeeds, or raises what the contract names", short(error)


def _where(store: Store, error: Exception) -> str:
    """The innermost place of the error inside the store's own package, or else the method that answered last."""
    if not store.adapters:
        return f"opening {store.target.name}"
    home = Path(inspect.getfile(type(store.raw))).parent
    inside = [frame for frame, _ in walk_tb(error.__traceback__) if Path(frame.f_code.co_filename).parent == home]
    if inside and not isinstance(error, ViolationError):
        code = inside[-1].f_code
        return f"{short_path(code.co_filename)}:{inside[-1].f_lineno} {code.co_qualname}"
    last = store.log.last
    return f"opening {store.target.name}" if last is None else source_of(store.raw, last.method)
