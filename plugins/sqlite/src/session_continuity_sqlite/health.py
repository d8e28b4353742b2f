"""Whether a file serves, found out by asking it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from time import perf_counter
from typing import Any

from session_continuity import ConfigError, HealthStatus, StorageClosedError, StorageError
from session_continuity_sqlite import schema
from session_continuity_sqlite.wire import Connections


def examine(connections: Connections) -> HealthStatus:
    """Read the schema, then take and give back a write's turn. Waits for the busy timeout at most twice."""
    started = perf_counter()
    details: dict[str, Any] = {"durable": True, "sqlite": sqlite3.sqlite_version, "schema_version": schema.VERSION}
    try:
        missing = connections.read("health", schema.missing_parts)
    except StorageClosedError:
        raise
    except (StorageError, ConfigError) as error:
        needs_setup = isinstance(error, StorageError) and error.details.get("needs_setup") is True
        return HealthStatus(status="degraded" if needs_setup else "unhealthy", details=details, remedy=error.message)
    if missing:
        remedy = f"the file lacks {', '.join(missing)}; restore it from a backup"
        return HealthStatus(status="degraded", details={**details, "missing": missing}, remedy=remedy)
    try:
        connections.write("health", _change_nothing)
    except StorageClosedError:
        raise
    except StorageError as error:
        return HealthStatus(status="degraded", details={**details, "writable": False}, remedy=error.message)
    path = connections.place.path
    details.update(bytes=os.path.getsize(path), free_bytes=shutil.disk_usage(os.path.dirname(path)).free)
    return HealthStatus(status="healthy", details=details, latency_ms=(perf_counter() - started) * 1000)


def _change_nothing(connection: sqlite3.Connection) -> None:
    """A statement that needs the right to write; to begin a transaction does not."""
    connection.execute("UPDATE sessions SET version = version WHERE FALSE")
