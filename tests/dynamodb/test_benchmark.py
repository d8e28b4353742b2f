"""The benchmark runs: what it prints is for people, that it measures and counts every operation is for this test."""

from __future__ import annotations

import pytest

from ..kit.benchmark_program import every_operation, small_run
from ..kit.dynamodb_engines import TRUSTED, Engine

pytestmark = pytest.mark.on(engine=TRUSTED)


SUBJECTS = ("boto3-json", "boto3-fields", "store", "manager", "async-store", "async-manager")


@pytest.mark.long("Five subjects are measured against a server.")
def test_a_small_run_counts_and_measures_every_operation_of_every_subject(engine: Engine) -> None:
    found = small_run("dynamodb", "--url", engine.url, "--latency", "1")
    assert found.keys() == every_operation(*SUBJECTS)
    assert all(
        requests >= 1 and kilobytes > 0 and read + written > 0 for requests, kilobytes, read, written in found.values()
    )
    assert found["append", "store"][0] == found["last 20", "async-store"][0] == 1
