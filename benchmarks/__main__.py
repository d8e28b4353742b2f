"""`python -m benchmarks [BACKEND…] [--sizes 10,1000,10000] [--rounds 5]`: run the benchmarks and print the ratios."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lines.memory import DictLine
from benchmarks.lines.sqlite import SqliteLine
from benchmarks.measure import OPERATIONS, Result, measure
from benchmarks.subject import ManagerSubject, StoreSubject, Subject
from session_continuity import open_storage

GOALS = {
    "memory": {"append": 15.0},
    "sqlite": {"append": 4.0, "last 20": 2.0, "all": 1.5},
}


@contextmanager
def memory() -> Iterator[list[Subject]]:
    yield [DictLine(), StoreSubject(open_storage("memory://")), ManagerSubject(open_storage("memory://"))]


@contextmanager
def sqlite() -> Iterator[list[Subject]]:
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("line.db", "store.db", "manager.db")]
        yield [
            SqliteLine(paths[0]),
            StoreSubject(open_storage(f"sqlite:///{paths[1]}")),
            ManagerSubject(open_storage(f"sqlite:///{paths[2]}")),
        ]


BACKENDS: dict[str, Callable[[], object]] = {"memory": memory, "sqlite": sqlite}


def main() -> None:
    arguments = _arguments()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")
    print("CPU time as a ratio to the limit line in the same run; in brackets, microseconds")
    print(f"cold import of SessionManager: {_cold_import():.0f} ms of CPU, interpreter included; goal: ≤ 250 ms")
    for backend in arguments.backends or BACKENDS:
        results = [_run(backend, size, arguments.rounds) for size in arguments.sizes]
        _report(backend, results)


def _cold_import() -> float:
    """The best of five fresh interpreters, in milliseconds."""
    command = [sys.executable, "-c", "from session_continuity import SessionManager"]
    spent: list[float] = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent) * 1000


def _run(backend: str, size: int, rounds: int) -> tuple[list[str], Result]:
    with BACKENDS[backend]() as subjects:  # type: ignore[attr-defined]  # a context manager, whatever its type says
        try:
            return [subject.name for subject in subjects], measure(subjects, messages=size, rounds=rounds)
        finally:
            for subject in subjects:
                subject.close()


def _report(backend: str, results: Sequence[tuple[list[str], Result]]) -> None:
    line = results[0][0][0]
    print(f"\n{backend} (limit line: {line})")
    for operation in OPERATIONS:
        goal = GOALS[backend].get(operation)
        cells = [_cell(names, result, operation) for names, result in results]
        print(f"  {operation:9} {'  |  '.join(cells)}{'' if goal is None else f'   goal for the store: ≤ {goal:g}x'}")


def _cell(names: Sequence[str], result: Result, operation: str) -> str:
    line, *others = names
    ratios = ", ".join(f"{name} {result.ratio(name, line, operation):.1f}x" for name in others)
    return f"N={result.messages}: {ratios} [{result.microseconds[line, operation]:.1f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=f"of {', '.join(BACKENDS)}; all by default")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[10, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.backends) - BACKENDS.keys():
        parser.error(f"no benchmark for {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    main()
