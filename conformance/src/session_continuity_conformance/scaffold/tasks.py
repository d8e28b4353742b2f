"""The clauses as tasks for the author of a store, each with the method that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

from session_continuity_conformance.clauses import Clause, contract_clauses
from session_continuity_conformance.operations import OPERATIONS

WIDTH = 120

_METHOD_OF = {
    "Patch": "update_session",
    "SessionFilter": "list_sessions",
    "MessageQuery": "get_messages",
    "Appended": "append_messages",
    "HealthStatus": "health",
}
"""The method in which the rules of a value type are followed."""


def tasks() -> Mapping[str, str]:
    """The lines for the docstring of each method, as `clauses_METHOD`, and for that of the class, as `clauses`."""
    return {
        "clauses": _lines([clause for clause in contract_clauses().values() if not method_of(clause)], 4),
        **{f"clauses_{method}": _lines(clauses_of_method(method), 8) for method in OPERATIONS},
    }


def clauses_of_method(method: str) -> list[Clause]:
    """The clauses about a method."""
    return [clause for clause in contract_clauses().values() if method_of(clause) == method]


def method_of(clause: Clause) -> str | None:
    """The method that a clause is about; None where it is about the whole adapter."""
    places = [source.partition(" | ")[0] for source in clause.source]
    methods = [_METHOD_OF.get(place, place) for place in places]
    return next((method for method in methods if method in OPERATIONS), None)


def _lines(clauses: list[Clause], indent: int) -> str:
    margin = " " * indent
    lines: list[str] = []
    for clause in clauses:
        value = " = None" if clause.capability == "max_batch" else ""
        bound = f" (where {clause.capability}{value} is declared)" if clause.capability else ""
        lines += wrap(f"{clause.id}{bound}: {clause.text}", WIDTH - indent, subsequent_indent="  ")
    return f"\n{margin}".join(lines)
