"""Runs every example on every mutant, or on those named, and prints which clauses kill it."""

from __future__ import annotations

import argparse
import sys

from session_continuity_conformance.mutants import mutants


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 when a mutant survives its own clause."""
    parser = argparse.ArgumentParser(prog="session_continuity_conformance.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    chosen: list[str] = parser.parse_args(arguments).names or list(mutants())
    if unknown := sorted(set(chosen) - set(mutants())):
        parser.error(f"no mutant is called {' or '.join(unknown)}")
    survivors = 0
    for mutant in (mutants()[name] for name in chosen):
        killers = mutant.killers()
        dead = mutant.clause in killers
        survivors += not dead
        others = [clause for clause in killers if clause != mutant.clause]
        mark = "killed by" if dead else "SURVIVES"
        seeds = f" [{', '.join(mutant.seeds)}]" if mutant.seeds else ""
        beside = f", and by {', '.join(others)}" if others else ""
        print(f"{mutant.name}{seeds}: {mutant.story}\n    {mark} {mutant.clause}{beside}", flush=True)  # noqa: T201
    print(f"{len(chosen)} mutants, {survivors} survive")  # noqa: T201
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
