"""The suite against real plugins with a bug written into them: each is found, and named by its clause."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..kit.missing import skip_test
from ..kit.redis_servers import NEEDED, Server, find_engines
from .plants import MEMORY, REDIS, SQLITE, Plant

COMMAND = Path(sys.executable).with_name("session-continuity")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    found = find_engines()
    if not found:
        skip_test(NEEDED)
    server = Server(next(iter(found.values())), tmp_path_factory.mktemp("redis")).start()
    yield server.url
    server.stop()


def broken_clauses(plant: Plant, url: str, directory: Path) -> set[str]:
    """The clauses of the plant's area that the command finds broken when it imports the copy with the bug."""
    plant.write(directory)
    area = plant.clause.rpartition("-")[0]
    command = [COMMAND, "conformance", url, "--mode", plant.mode, "--clause", area, "--json"]
    run = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    (store,) = json.loads(run.stdout)["stores"]
    return {clause["id"] for clause in store["clauses"] if clause["status"] == "failed"}


@pytest.mark.parametrize("name", MEMORY)
def test_a_bug_in_the_memory_store_is_named(name: str, tmp_path: Path) -> None:
    assert MEMORY[name].clause in broken_clauses(MEMORY[name], "memory://planted", tmp_path)


@pytest.mark.parametrize("name", SQLITE)
def test_a_bug_in_the_sqlite_store_is_named(name: str, tmp_path: Path) -> None:
    assert SQLITE[name].clause in broken_clauses(SQLITE[name], f"sqlite:///{tmp_path}/planted.db", tmp_path)


@pytest.mark.parametrize("name", REDIS)
def test_a_bug_in_the_redis_store_is_named(name: str, redis_url: str, tmp_path: Path) -> None:
    plant = REDIS[name]
    assert plant.clause in broken_clauses(plant, f"{redis_url}?namespace={tmp_path.name}", tmp_path)
