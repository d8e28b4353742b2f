"""The benchmark program as its tests run it: small, and read from what it prints for people."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPERATIONS = ("append", "last 20", "context", "all", "update", "delete", "list 100")
_ROW = re.compile(rf"({'|'.join(OPERATIONS)}) +([a-z][\w.-]*)((?: +[\d,.]+)*) +[\d,.]+ \([\d.]+\) +[\d,.]+ \([\d.]+\)")


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def small_run(*arguments: str) -> dict[tuple[str, str], list[float]]:
    """What was counted, by operation and subject, of those whose CPU and wall time and their ratios were told."""
    run = benchmark(*arguments, "--sizes", "3", "--rounds", "1")
    assert run.returncode == 0, run.stderr
    return {(row[1], row[2]): [float(cell) for cell in row[3].split()] for row in _ROW.finditer(run.stdout)}


def every_operation(*subjects: str) -> set[tuple[str, str]]:
    return {(operation, subject) for operation in OPERATIONS for subject in subjects}
