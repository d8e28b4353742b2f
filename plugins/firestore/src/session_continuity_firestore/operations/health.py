"""Whether the database serves."""

from __future__ import annotations

import time

import grpc

from session_continuity import HealthStatus, UnavailableError
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.requests.errors import CredentialsError, translate

_ANY_ID = "health"


async def check_health(context: Context, target: str) -> HealthStatus:
    """Look for a document that need not exist. A database that answers with a refusal is `degraded`."""
    started = time.perf_counter()
    details = {"database": target, "collection": context.names.collection}
    try:
        await context.client.get(context.names.session(_ANY_ID), [])
    except (grpc.RpcError, CredentialsError) as error:
        problem = translate(error, target)
        if problem is None or isinstance(problem, UnavailableError):
            raise
        return HealthStatus(status="degraded", details={**details, "error": problem.code}, remedy=problem.message)
    return HealthStatus(status="healthy", details=details, latency_ms=(time.perf_counter() - started) * 1000)
