"""The clauses of extensions: what an organisation requires of its stores beyond the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from inspect import cleandoc, iscoroutinefunction
from typing import Any

from session_continuity import CONTRACT, PluginError, default_registry
from session_continuity_conformance.cases import Example
from session_continuity_conformance.clauses import Clause, add_clause, all_clauses


@cache
def extension_examples() -> Mapping[str, Example]:
    """The examples of extensions, by the ids of their clauses. The first call adds these clauses.

    Raises PluginError for an id that is malformed or taken, and for an example that is not a coroutine function or has
    no docstring.
    """
    found: dict[str, Example] = {}
    for implementation in default_registry().hooks.sc_conformance_clauses.get_hookimpls():
        added: Mapping[str, Any] = implementation.function()
        for name, example in added.items():
            add_clause(_clause(name, example, implementation.plugin_name))
            found[name] = example
    return found


def _clause(name: str, example: Any, extension: str) -> Clause:
    if not re.fullmatch(r"(?!SC-)[A-Z][A-Z0-9]+-[A-Z]+-\d{3}", name) or name in all_clauses():
        raise PluginError(
            f"extension {extension} brings a clause {name}; an id has a prefix of its own, as in ACME-AUDIT-001, and "
            "stands for one clause only"
        )
    text, _, remedy = cleandoc(example.__doc__ or "").partition("\n\n")
    if not iscoroutinefunction(example) or not text:
        raise PluginError(
            f"the example of {name} from extension {extension} must be a coroutine function; its docstring states the "
            "clause, and in a second paragraph the remedy"
        )
    return Clause(
        id=name,
        level="MUST",
        since=(CONTRACT[0], 0),
        text=" ".join(text.split()),
        rationale=f"Extension {extension} asks for it.",
        remedy=" ".join(remedy.split()) or f"Ask the authors of extension {extension}.",
    )
