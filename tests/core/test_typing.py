"""The samples in tests/typing, as mypy and pyright see them: right use is clean, wrong use is caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/typing"
MISTAKES = SAMPLES / "mistakes.py"

Complaints = dict[tuple[str, int], set[str]]
"""File name and line → the rules broken there."""


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, os.fspath(SAMPLES)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # for the mistakes; 2 and more are faults of the checker
    return done.stdout


@cache
def complaints(checker: str) -> Complaints:
    found: Complaints = defaultdict(set)
    if checker == "mypy":
        for line in run("mypy", "--output=json").splitlines():
            complaint = json.loads(line)
            if complaint["severity"] == "error":
                found[Path(complaint["file"]).name, complaint["line"]].add(complaint["code"])
    else:
        for complaint in json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable))[
            "generalDiagnostics"
        ]:
            found[Path(complaint["file"]).name, complaint["range"]["start"]["line"] + 1].add(complaint["rule"])
    return found


def marked() -> dict[int, set[str]]:
    """Line → the rules that its comment names."""
    lines = enumerate(MISTAKES.read_text().splitlines(), 1)
    return {
        number: set(line.partition("# wrong")[2].strip(": ").split()) for number, line in lines if "# wrong" in line
    }


checkers = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@checkers
def test_right_use_is_clean(checker: str) -> None:
    assert {place for place in complaints(checker) if place[0] != MISTAKES.name} == set()


@checkers
def test_every_mistake_is_caught_and_nothing_else(checker: str) -> None:
    caught = {line for name, line in complaints(checker) if name == MISTAKES.name}
    assert caught == marked().keys()


@checkers
def test_a_forgotten_await_is_caught_as_such(checker: str) -> None:
    named = {line: rules for line, rules in marked().items() if rules}
    assert len(named) == 2
    for line, rules in named.items():
        assert complaints(checker)[MISTAKES.name, line] <= rules
