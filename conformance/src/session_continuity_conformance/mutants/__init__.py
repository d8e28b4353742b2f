"""Mutants: stores that are broken on purpose, each in one way. They show that the suite can fail.

`python -m session_continuity_conformance.mutants` runs every example on every mutant, and prints which clause catches
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from session_continuity_conformance.mutants.registry import Mutant, declared
from session_continuity_conformance.reference.storage import ReferenceTarget, SharedStorage

__all__ = ["Mutant", "mutants", "shared_target"]


def mutants() -> Mapping[str, Mutant]:
    """Every mutant by name."""
    for module in iter_modules(__path__, f"{__name__}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return {mutant.name: mutant for mutant in declared()}


def shared_target(argument: str) -> ReferenceTarget:
    """The store that `NAME:PATH` describes, for another process: a mutant, or the shared reference."""
    name, _, path = argument.partition(":")
    storage = SharedStorage if name == SharedStorage.__name__ else mutants()[name].storage
    if not issubclass(storage, SharedStorage):
        raise TypeError(f"{name} is not a store that processes share")
    return ReferenceTarget(storage, world=storage.world_class(Path(path)))
