"""Declares mutants, and runs examples on them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from session_continuity_conformance.cases import BrokenClauseError, Case, Effort, Proof
from session_continuity_conformance.clauses import all_clauses
from session_continuity_conformance.examples import examples
from session_continuity_conformance.options import ModeName
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.reference.networked import NetworkedStorage, networked
from session_continuity_conformance.reference.storage import ReferenceStorage, ReferenceTarget, SharedStorage
from session_continuity_conformance.store_fixture import NotApplicableError

C = TypeVar("C", bound=type[Any])

TRIED: tuple[ModeName, ...] = ("blocking", "async")

BRIEF = Effort(programs=60)
"""The search of clauses other than the mutant's own."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A store that is broken in one way.

    `clause` must catch it, `story` says what is broken, `module` is the file that defines it. `seeds` are the known
    defects of other stores that it stands for.
    """

    name: str
    clause: str
    story: str
    storage: type[ReferenceStorage]
    module: str
    seeds: tuple[str, ...] = ()

    def killed_by(self, clause: str) -> bool:
        """Whether an example of the clause fails on this store."""
        return any(self.fails(clause, proof, mode) for proof in examples()[clause] for mode in TRIED)

    def fails(self, clause: str, proof: Proof, mode: ModeName) -> bool:
        """Whether one example fails on this store in one mode."""
        with open_store_of(self.storage) as target:
            try:
                proof(Case(target, mode, Effort() if clause == self.clause else BRIEF), all_clauses()[clause])
            except BrokenClauseError:
                return True
            except NotApplicableError:
                return False
        return False

    def killers(self) -> list[str]:
        """Every clause that this store breaks."""
        return [clause for clause in examples() if self.killed_by(clause)]


@contextmanager
def open_store_of(storage: type[ReferenceStorage]) -> Generator[ReferenceTarget]:
    """A new store of this class, with its own file if processes share it, or its own server if it has connections."""
    if issubclass(storage, NetworkedStorage):
        with networked(storage) as target:
            yield target
        return
    if not issubclass(storage, SharedStorage):
        yield ReferenceTarget(storage)
        return
    with TemporaryDirectory(prefix="sc-reference-") as folder:
        yield ReferenceTarget(storage, world=storage.world_class(Path(folder, "world")))


_MUTANTS: dict[str, Mutant] = {}


def breaks(clause: str, *seeds: str) -> Callable[[C], C]:
    """Declare a class, of a storage or of a model, as a mutant that this clause must catch."""

    def declare(mutant: C) -> C:
        if mutant.__name__ in _MUTANTS:
            raise ValueError(f"two mutants are called {mutant.__name__}")
        storage = type(mutant.__name__, (ReferenceStorage,), {"model_class": mutant}) if _is_model(mutant) else mutant
        story = " ".join((mutant.__doc__ or "").split())
        _MUTANTS[mutant.__name__] = Mutant(mutant.__name__, clause, story, storage, mutant.__module__, seeds)
        return mutant

    return declare


def _is_model(mutant: type[Any]) -> bool:
    return issubclass(mutant, Model)


def declared() -> Iterable[Mutant]:
    """The mutants that were declared so far."""
    return _MUTANTS.values()
