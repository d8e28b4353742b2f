"""The examples of each clause, for running them without pytest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from session_continuity_conformance import suite
from session_continuity_conformance.cases import CLAUSE_ATTRIBUTE, PROOF_ATTRIBUTE, Proof


@cache
def examples() -> Mapping[str, tuple[Proof, ...]]:
    """The examples of every clause, found by importing the suite."""
    found: dict[str, list[Proof]] = {}
    for module in iter_modules(suite.__path__, f"{suite.__name__}."):
        for value in vars(import_module(module.name)).values():
            name = getattr(value, CLAUSE_ATTRIBUTE, None)
            if name is not None:
                found.setdefault(name, []).append(getattr(value, PROOF_ATTRIBUTE))
    return {name: tuple(group) for name, group in found.items()}
