"""The benchmarks run: what they print is for people, that they measure every operation is for this test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_run_prints_a_ratio_for_every_operation() -> None:
    command = [sys.executable, "-m", "benchmarks", "memory", "sqlite", "--sizes", "3", "--rounds", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for backend in ("memory", "sqlite"):
        report = run.stdout.split(f"\n{backend} (limit line: ")[1].split("\n\n")[0]
        for operation in ("append", "last 20", "all", "update", "delete", "list 100"):
            (line,) = [line for line in report.splitlines() if line.strip().startswith(operation)]
            assert "store " in line
            assert "manager " in line
            assert line.count("x") >= 2


def test_an_unknown_backend_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "oracle"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "no benchmark for oracle" in run.stderr
