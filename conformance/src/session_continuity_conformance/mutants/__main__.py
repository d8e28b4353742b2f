"""Runs every example on every mutant and prints which clauses kill it."""

from __future__ import annotations

import sys

from session_continuity_conformance.mutants import mutants


def main() -> int:
    """Exit code 1 when a mutant survives its own clause."""
    survivors = 0
    for mutant in mutants().values():
        killers = mutant.killers()
        dead = mutant.clause in killers
        survivors += not dead
        others = [clause for clause in killers if clause != mutant.clause]
        mark = "killed by" if dead else "SURVIVES"
        seeds = f" [{', '.join(mutant.seeds)}]" if mutant.seeds else ""
        beside = f", and by {', '.join(others)}" if others else ""
        print(f"{mutant.name}{seeds}: {mutant.story}\n    {mark} {mutant.clause}{beside}", flush=True)  # noqa: T201
    print(f"{len(mutants())} mutants, {survivors} survive")  # noqa: T201
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
