"""The benchmark runs: what it prints is for people, that it measures every operation is for this test."""

from __future__ import annotations

import pytest

from ..kit.benchmark_program import every_operation, small_run
from ..kit.redis_servers import EVERY_ENGINE, Server

pytestmark = pytest.mark.on(engine=EVERY_ENGINE[:1])  # the program is the same for each

SUBJECTS = (
    "redis-py-orjson",
    "redis-py-json",
    "store",
    "manager",
    "redis.asyncio-orjson",
    "redis.asyncio-json",
    "async-store",
    "async-manager",
)


def test_a_small_run_measures_every_operation_of_every_subject(server: Server) -> None:
    found = small_run("redis", "--url", server.url)
    assert found.keys() >= every_operation(*SUBJECTS)
