"""Whether the store serves."""

from __future__ import annotations

from time import perf_counter

from session_continuity import HealthStatus
from session_continuity_postgres import setup
from session_continuity_postgres.connections import Connections


async def check_health(connections: Connections, schema: str) -> HealthStatus:
    """Ask the server for its state and what the schema has. A server that does not answer raises; core makes it
    `unhealthy`."""
    started = perf_counter()
    found = await setup.state(connections, schema)
    remedy = setup.problem(found, schema)
    return HealthStatus(
        status="degraded" if remedy else "healthy",
        details={
            "server": found.server,
            "schema": schema,
            "schema_version": found.version,
            "durable": found.durable,
            "read_only": found.read_only,
            **({"missing": found.missing} if found.missing else {}),
        },
        remedy=remedy,
        latency_ms=(perf_counter() - started) * 1000,
    )
