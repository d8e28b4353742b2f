"""What a server's INFO says about keeping conversations safe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from session_continuity import HealthStatus, StorageError, UnavailableError
from session_continuity_redis.errors import NAME_CLUSTER, translate

OLDEST = (6, 2)

_SHOWN = (
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
_UNCHECKED = "somebody between may read and change what is sent: set tls_check to full, and tls_ca if it is needed"
_FULL = "the memory is full, and writes are refused: raise maxmemory, or delete sessions"
_NOT_DURABLE = "conversations are lost when the server stops: set appendonly to yes, or a save point, or add a replica"
_REPLICA = "this server accepts no writes: connect to the primary, or through the cluster or Sentinel"
_DISK = "the last save to disk failed: look at the server's log, then at its disk"


def check_server(info: Mapping[str, Any], *, clustered: bool) -> None:
    """Raises StorageError if the server is too old for the scripts, or a node of a cluster without a cluster's client.

    A server that does not report these facts is accepted.
    """
    if not clustered and info.get("cluster_enabled"):
        raise StorageError(f"this server is a node of a cluster; {NAME_CLUSTER}")
    version = re.match(r"(\d+)\.(\d+)", str(info.get("redis_version", "")))
    if version and (int(version[1]), int(version[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StorageError(f"this server is Redis {version[0]}; session-continuity needs {oldest} or newer")


def status_of_refusal(error: ResponseError) -> HealthStatus | None:
    """`degraded` if the server answered that this user may not ask. None if it cannot serve at the moment."""
    problem = translate(error)
    if not isinstance(problem, StorageError) or isinstance(problem, UnavailableError):
        return None
    return HealthStatus(status="degraded", details={"error": problem.code}, remedy=problem.message)


def status_of(
    servers: Sequence[Mapping[str, Any]], save: str | None, *, tls_check: str, latency_ms: float
) -> HealthStatus:
    """One status for all servers, `degraded` if anything is wrong with one of them.

    `servers` holds the INFO of each. `save` is the setting of that name, None if the server does not show it.
    `tls_check` is the option of that name.
    """
    remedies = list(dict.fromkeys(remedy for info in servers for remedy in _remedies(info, save)))
    if tls_check != "full":
        remedies.append(_UNCHECKED)
    return HealthStatus(
        status="degraded" if remedies else "healthy",
        details={"save": save, "servers": [{name: info[name] for name in _SHOWN if name in info} for info in servers]},
        remedy="; ".join(remedies) or None,
        latency_ms=latency_ms,
    )


def _remedies(info: Mapping[str, Any], save: str | None) -> list[str]:
    found: list[str] = []
    if info.get("role") == "slave":
        found.append(_REPLICA)
    limit = int(info.get("maxmemory", 0))
    if limit and info.get("maxmemory_policy") != "noeviction":
        found.append(_EVICTS)
    elif limit and int(info.get("used_memory", 0)) >= limit:
        found.append(_FULL)
    if "err" in (info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status")):
        found.append(_DISK)
    if save == "" and not int(info.get("aof_enabled", 0)) and not int(info.get("connected_slaves", 0)):
        found.append(_NOT_DURABLE)
    return found
