"""What a server says of itself → whether it keeps conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from session_continuity import HealthStatus, StorageError, UnavailableError
from session_continuity_redis.errors import BACKEND

OLDEST = (6, 2)

_TOLD = (
    "redis_version",
    "valkey_version",
    "role",
    "connected_slaves",
    "used_memory",
    "maxmemory",
    "maxmemory_policy",
    "aof_enabled",
    "aof_last_write_status",
    "rdb_last_bgsave_status",
    "rdb_last_save_time",
)

_EVICTS = "conversations are lost when memory runs full: set maxmemory-policy to noeviction"
_FULL = "the memory is full, and writes are refused: raise maxmemory, or delete sessions"
_FORGETS = "conversations are lost when the server stops: set appendonly to yes, or a save point, or add a replica"
_REPLICA = "this server takes no writes: connect to the primary, or through the cluster or Sentinel"
_DISK = "the last save to disk failed: look at the server's log, then at its disk"


def check_version(told: Mapping[str, Any]) -> None:
    """Raises StorageError for a server that is too old for the scripts."""
    version = str(told.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise StorageError(
            f"this server is Redis {version}; {'.'.join(map(str, OLDEST))} is the oldest that serves",
            backend=BACKEND,
            operation="setup",
        )


def refused(problem: StorageError) -> HealthStatus:
    """The status of a server that did not answer a question, or that answered that this user may not ask it."""
    answered = isinstance(problem.__cause__, ResponseError) and not isinstance(problem, UnavailableError)
    return HealthStatus(
        status="degraded" if answered else "unhealthy", details={"error": problem.code}, remedy=problem.message
    )


def judge(servers: Sequence[Mapping[str, Any]], save: str | None, *, latency_ms: float) -> HealthStatus:
    """One status for all servers: what is missing on any of them makes it degraded. `save` is the setting of that name,
    None where the server does not tell it."""
    remedies = list(dict.fromkeys(remedy for told in servers for remedy in _remedies(told, save)))
    return HealthStatus(
        status="degraded" if remedies else "healthy",
        details={"save": save, "servers": [{name: told[name] for name in _TOLD if name in told} for told in servers]},
        remedy="; ".join(remedies) or None,
        latency_ms=latency_ms,
    )


def _remedies(told: Mapping[str, Any], save: str | None) -> list[str]:
    found: list[str] = []
    if told.get("role") == "slave":
        found.append(_REPLICA)
    most = int(told.get("maxmemory", 0))
    if most and told.get("maxmemory_policy") != "noeviction":
        found.append(_EVICTS)
    elif most and int(told.get("used_memory", 0)) >= most:
        found.append(_FULL)
    if "err" in (told.get("rdb_last_bgsave_status"), told.get("aof_last_write_status")):
        found.append(_DISK)
    if save == "" and not int(told.get("aof_enabled", 0)) and not int(told.get("connected_slaves", 0)):
        found.append(_FORGETS)
    return found
