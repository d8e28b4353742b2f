"""The benchmark program as its tests run it: with the smallest sizes, and its printed tables parsed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_OPERATIONS = ("append", "last 20", "context", "all", "update", "delete", "list 100")
_ROW = re.compile(rf"({'|'.join(_OPERATIONS)}) +([a-z][\w.-]*)((?: +[\d,.]+)*) +[\d,.]+ \([\d.]+\) +[\d,.]+ \([\d.]+\)")


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, whatever its exit code."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


def small_run(*arguments: str) -> dict[tuple[str, str], list[float]]:
    """Run the program with one round of three messages, and return the counts it prints by (operation, subject).

    Rows without CPU time, wall time and their ratios are left out.
    """
    run = benchmark(*arguments, "--sizes", "3", "--rounds", "1")
    assert run.returncode == 0, run.stderr
    return {(row[1], row[2]): [float(cell) for cell in row[3].split()] for row in _ROW.finditer(run.stdout)}


def every_operation(*subjects: str) -> set[tuple[str, str]]:
    """Each pair of an operation and one of these subjects."""
    return {(operation, subject) for operation in _OPERATIONS for subject in subjects}
