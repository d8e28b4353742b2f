"""Stores that are broken on purpose, each in one way: the proof that the suite can fail.

`python -m session_continuity_conformance.mutants` runs every example on every one of them and prints who died of what.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from session_continuity_conformance.mutants.registry import Mutant, declared

__all__ = ["Mutant", "mutants"]


def mutants() -> Mapping[str, Mutant]:
    """Every mutant by name."""
    for module in iter_modules(__path__, f"{__name__}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return {mutant.name: mutant for mutant in declared()}
