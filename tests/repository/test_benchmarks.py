"""The benchmarks run: what they print is for people, that they measure every operation is for this test."""

from __future__ import annotations

import pytest

from ..benchmarks import benchmark, every_operation, small_run


@pytest.mark.parametrize(("backend", "line"), [("memory", "dict"), ("sqlite", "sqlite3")])
def test_a_small_run_measures_every_operation_of_every_subject(backend: str, line: str) -> None:
    assert small_run(backend).keys() == every_operation(line, "store", "manager")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["oracle"], "no benchmark for oracle"),
        (["memory", "--latency", "5"], "--url and --latency go with one of redis, dynamodb"),
        (["redis", "dynamodb", "--url", "redis://127.0.0.1"], "--url and --latency go with one of redis, dynamodb"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], reason: str) -> None:
    run = benchmark(*arguments)
    assert run.returncode == 2
    assert reason in run.stderr
