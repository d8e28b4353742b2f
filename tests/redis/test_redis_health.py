"""Health tells what would lose conversations, and what to do."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from session_continuity import HealthStatus, Patch, StorageError, utc_now
from session_continuity_redis.health import check_server

from ..kit.redis_servers import Server
from .conftest import MakeServer
from .stores import Bench


def health_of(server: Server, name: str = "", password: str = "") -> HealthStatus:
    at = f"{name}:{password}@" if name else ""
    bench = Bench(f"redis://{at}127.0.0.1:{server.port}", "blocking")
    found = bench(bench.store.health())
    bench.close()
    return found


def test_a_server_that_keeps_what_it_is_told_is_healthy(make_server: MakeServer) -> None:
    found = health_of(make_server("--appendonly", "yes"))
    assert found.status == "healthy"
    assert found.remedy is None
    assert found.details["servers"][0]["aof_enabled"] == 1
    assert found.latency_ms is not None


def test_no_persistence_is_degraded(make_server: MakeServer) -> None:
    found = health_of(make_server())
    assert found.status == "degraded"
    assert "appendonly" in str(found.remedy)


@pytest.mark.parametrize(
    ("policy", "status"), [("allkeys-lru", "degraded"), ("volatile-ttl", "degraded"), ("noeviction", "healthy")]
)
def test_eviction_is_degraded_where_memory_has_a_limit(make_server: MakeServer, policy: str, status: str) -> None:
    server = make_server("--appendonly", "yes", "--maxmemory-policy", policy)
    assert health_of(server).status == "healthy"
    with server.client() as client:
        client.config_set("maxmemory", "100mb")
    found = health_of(server)
    assert found.status == status
    assert ("noeviction" in str(found.remedy)) is (status == "degraded")


def test_a_server_that_tells_no_settings_is_taken_at_its_word(make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config")
    found = health_of(server, "app", "secret")
    assert found.status == "healthy"
    assert found.details["save"] is None


def rights_of_the_readme() -> list[str]:
    text = " ".join((Path(__file__).parents[2] / "plugins/redis/README.md").read_text(encoding="utf-8").split())
    return text.partition("needs, on keys that begin with the prefix: `")[2].partition("`")[0].split()


@pytest.mark.parametrize("lacking", [None, "+time", "+unlink"])
def test_the_rights_that_the_readme_names_are_those_that_it_takes(make_server: MakeServer, lacking: str | None) -> None:
    server = make_server("--appendonly", "yes")
    rights = [right for right in rights_of_the_readme() if right != lacking]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~sc:*", *rights)
    bench = Bench(f"redis://app:secret@127.0.0.1:{server.port}", "blocking")
    with pytest.raises(StorageError, match="ACL") if lacking else nullcontext():
        bench.create(user_id="u", expires_at=utc_now() + timedelta(1))
        bench.append("hello")
        bench(bench.store.update_session("s", Patch(set={"user_id": "v", "expires_at": None})))
        assert bench.contents() == ["hello"]
        assert bench(bench.store.delete_session("s"))
    bench.close()


def test_wrong_credentials_are_unhealthy_and_never_told(make_server: MakeServer) -> None:
    found = health_of(make_server(), "app", "hunter2")
    assert found.status == "unhealthy"
    assert "password" in str(found.remedy)
    assert "hunter2" not in repr(found)


def user(server: Server, *rights: str) -> tuple[str, str]:
    """The name and password of a user with these rights."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", *rights)
    return "app", "secret"


@pytest.mark.parametrize(
    ("rights", "remedy"),
    [
        (["~sc:*", "+info", "+config|get"], "evalsha"),
        (["~sc:*", "+info", "+@scripting"], "ACL"),
        (["~theirs:*", "+@all"], "key"),
        (["~sc:*", "+@sortedset", "+@scripting", "+unlink", "+pexpire", "+persist", "+time"], "info"),
    ],
)
def test_a_user_without_a_right_is_degraded(make_server: MakeServer, rights: list[str], remedy: str) -> None:
    server = make_server("--appendonly", "yes")
    found = health_of(server, *user(server, *rights))
    assert found.status == "degraded"
    assert remedy in str(found.remedy)
    assert "secret" not in repr(found)


def test_a_server_that_is_full_is_degraded(make_server: MakeServer) -> None:
    server = make_server("--appendonly", "yes")
    with server.client() as client:
        client.config_set("maxmemory", "100kb")
        found = health_of(server)
        client.config_set("maxmemory", "0")
    assert found.status == "degraded"
    assert "maxmemory" in str(found.remedy)


def test_a_server_too_old_is_refused_at_setup() -> None:
    for known in ({"redis_version": "6.2.0"}, {"redis_version": "10.0.1"}, {"redis_version": "unknown"}, {}):
        check_server(known, clustered=False)
    with pytest.raises(StorageError, match=r"needs 6\.2 or newer"):
        check_server({"redis_version": "6.0.16"}, clustered=False)
