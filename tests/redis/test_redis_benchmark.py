"""The benchmark runs: what it prints is for people, that it measures every operation is for this test."""

from __future__ import annotations

from ..benchmarks import every_operation, small_run
from .servers import Server

SUBJECTS = ("redis-py", "store", "manager", "redis.asyncio", "async-store", "async-manager")


def test_a_small_run_measures_every_operation_of_every_subject(server: Server) -> None:
    found = small_run("redis", "--url", server.url)
    assert found.keys() == every_operation(*SUBJECTS)
