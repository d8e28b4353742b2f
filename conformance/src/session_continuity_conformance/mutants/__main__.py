"""Runs mutants against their own clauses, and prints the table. With `--beside` it runs them against all others too."""

from __future__ import annotations

import argparse
import sys

from session_continuity_conformance.mutants import Mutant, mutants
from session_continuity_conformance.reporting.report import number_of


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants that are named, or all. Returns 1 when one survives its own clause."""
    parser = argparse.ArgumentParser(prog="session_continuity_conformance.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--beside", action="store_true", help="show which other clauses kill it; takes most of an hour")
    parsed = parser.parse_args(arguments)
    chosen: list[str] = parsed.names or list(mutants())
    if unknown := sorted(set(chosen) - set(mutants())):
        parser.error(f"unknown mutant {', '.join(unknown)}")
    survivors = 0
    for mutant in (mutants()[name] for name in chosen):
        killed = mutant.killed_by(mutant.clause)
        survivors += not killed
        print(_line(mutant, killed=killed, others=_others(mutant) if parsed.beside else []), flush=True)  # noqa: T201
    print(f"{number_of(len(chosen), 'mutant')}, {survivors} survived")  # noqa: T201
    return 1 if survivors else 0


def _others(mutant: Mutant) -> list[str]:
    return [clause for clause in mutant.killers() if clause != mutant.clause]


def _line(mutant: Mutant, *, killed: bool, others: list[str]) -> str:
    mark = "killed by" if killed else "SURVIVES"
    seeds = f" [{', '.join(mutant.seeds)}]" if mutant.seeds else ""
    beside = f", and by {', '.join(others)}" if others else ""
    return f"{mutant.name}{seeds}: {mutant.story}\n    {mark} {mutant.clause}{beside}"


if __name__ == "__main__":
    sys.exit(main())
