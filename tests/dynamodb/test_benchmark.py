"""The benchmark runs: what it prints is for people, that it measures and counts every operation is for this test."""

from __future__ import annotations

from ..benchmarks import every_operation, small_run
from .engines import Engine

SUBJECTS = ("boto3", "store", "manager", "async-store", "async-manager")


def test_a_small_run_counts_and_measures_every_operation_of_every_subject(judge: Engine) -> None:
    found = small_run("dynamodb", "--url", judge.url, "--latency", "1")
    assert found.keys() == every_operation(*SUBJECTS)
    assert all(
        requests >= 1 and kilobytes > 0 and read + written > 0 for requests, kilobytes, read, written in found.values()
    )
    assert found["append", "store"][0] == found["last 20", "async-store"][0] == 1
