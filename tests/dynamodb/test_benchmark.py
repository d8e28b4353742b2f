"""The benchmark runs: what it prints is for people, that it measures and counts every operation is for this test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .engines import Engine

ROOT = Path(__file__).parents[2]
OPERATIONS = ("append", "last 20", "all", "update", "delete", "list 100")
SUBJECTS = ("boto3", "store", "async", "manager")


def test_a_small_run_counts_and_measures_every_operation_of_every_subject(judge: Engine) -> None:
    command = [sys.executable, "-m", "benchmarks.dynamodb_bench", judge.url, "--sizes", "3", "--rounds", "1"]
    run = subprocess.run([*command, "--latency", "1"], cwd=ROOT, capture_output=True, text=True, check=True)
    row = re.compile(r"(append|last 20|all|update|delete|list 100) +(\w+) +(\d+) +([\d.]+) .*\(\d.*\).*\(\d.*\)")
    found = {(match[1], match[2]): (int(match[3]), float(match[4])) for match in row.finditer(run.stdout)}
    assert found.keys() == {(operation, subject) for operation in OPERATIONS for subject in SUBJECTS}
    assert all(requests >= 1 and kilobytes > 0 for requests, kilobytes in found.values())
    assert found["append", "store"][0] == found["last 20", "store"][0] == 1
