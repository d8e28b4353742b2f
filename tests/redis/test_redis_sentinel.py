"""A primary under a Sentinel: found by the service's name, followed when it dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from session_continuity import Mode, StorageError, UnavailableError

from ..kit.modes import MODES
from ..kit.ports import free_port
from ..kit.redis_servers import Server
from ..kit.waiting import wait_until
from .conftest import MakeServer
from .stores import Bench

pytestmark = pytest.mark.on(mode=MODES)


@pytest.fixture
def watched(make_server: MakeServer, one_engine: str, tmp_path: Path) -> Iterator[tuple[Server, Server, int]]:
    """A primary, its replica, and the port of the Sentinel over both."""
    primary = make_server()
    replica = make_server("--replicaof", "127.0.0.1", str(primary.port))
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )
    with (tmp_path / "sentinel.log").open("wb") as log:
        process = subprocess.Popen([one_engine, str(config), "--sentinel"], stdout=log, stderr=log)
    client = redis.Redis(port=port, decode_responses=True)
    wait_until(lambda: _replicas(client) == 1, "the Sentinel to know the replica")
    yield primary, replica, port
    client.close()
    process.terminate()
    process.wait(20)


def _replicas(client: redis.Redis) -> int:
    try:
        return int(client.info("sentinel")["master0"]["slaves"])
    except redis.ConnectionError:
        return 0


def test_the_promoted_replica_is_found_by_the_service(watched: tuple[Server, Server, int], mode: Mode) -> None:
    primary, replica, port = watched
    bench = Bench(f"redis+sentinel://127.0.0.1:{port}/main/0?timeout=1&retries=0", mode)
    bench.create(user_id="ada")
    bench.append("one")
    with primary.client() as client:
        client.execute_command("SET", "marker", "1")
        wait_until(lambda: client.execute_command("WAIT", 1, 100) == 1, "the replica to have it")
    primary.kill()
    with pytest.raises(UnavailableError):
        bench.append("two", id="two")
    wait_until(lambda: _appended(bench), "the replica to take over")
    assert bench.contents() == ["one", "three"]
    with replica.client() as client:
        assert client.info("replication")["role"] == "master"
    bench.close()


def _appended(bench: Bench) -> bool:
    try:
        bench.append("three", id="three")
    except UnavailableError:
        return False
    return bench.totals() == (2, 2)


def test_a_service_that_no_sentinel_knows_is_no_passing_failure(
    watched: tuple[Server, Server, int], mode: Mode
) -> None:
    bench = Bench(f"redis+sentinel://127.0.0.1:{watched[2]}/mistyped/0?timeout=1&retries=0", mode)
    with pytest.raises(StorageError, match="'mistyped', but main") as refused:
        bench(bench.store.setup())
    assert not refused.value.retryable
    bench.close()
