"""Whether a file can serve: tried, not guessed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from time import perf_counter
from typing import Any

from session_continuity import HealthStatus, StorageError, UnavailableError
from session_continuity_sqlite import schema
from session_continuity_sqlite.errors import needs_setup, translate
from session_continuity_sqlite.pool import ConnectionPool

LARGEST_CHECKED = 16 << 20
"""Bytes of a file whose structure is checked, which takes about a tenth of a second. A larger one is not read."""


def check_health(pool: ConnectionPool) -> HealthStatus:
    """Read the schema, check a small file's structure, then write a page. Waits at most twice for the busy timeout.

    A file that cannot be read raises; core makes it `unhealthy`.
    """
    started = perf_counter()
    details: dict[str, Any] = {"durable": True, "sqlite": sqlite3.sqlite_version, "schema_version": schema.VERSION}
    try:
        missing = pool.read(schema.missing_parts)
    except Exception as error:
        problem = translate(error, "health", pool.place)
        if problem is None or not needs_setup(problem):
            raise
        return HealthStatus(status="degraded", details=details, remedy=problem.message)
    if missing:
        remedy = f"the file lacks {', '.join(missing)}; restore it from a backup"
        return HealthStatus(status="degraded", details={**details, "missing": missing}, remedy=remedy)
    if os.path.getsize(pool.place.path) <= LARGEST_CHECKED and (damage := pool.read(_damage)) is not None:
        remedy = "the file is damaged; restore a backup, or rescue it with the sqlite3 tool's .recover"
        return HealthStatus(status="degraded", details={**details, "damage": damage}, remedy=remedy)
    if (problem := _write_problem(pool)) is not None:
        return HealthStatus(status="degraded", details={**details, "writable": False}, remedy=problem.message)
    path = pool.place.path
    details.update(bytes=os.path.getsize(path), free_bytes=shutil.disk_usage(os.path.dirname(path)).free)
    return HealthStatus(status="healthy", details=details, latency_ms=(perf_counter() - started) * 1000)


def _write_problem(pool: ConnectionPool) -> StorageError | None:
    """Why the file cannot be written, if it cannot."""
    try:
        pool.write(_write_version)
    except UnavailableError as error:
        return error
    except sqlite3.Error as error:
        problem = translate(error, "health", pool.place)
        if isinstance(problem, StorageError):
            return problem
        raise
    return None


def _write_version(connection: sqlite3.Connection) -> None:
    # A statement that changes nothing writes nothing, and so succeeds on a full disk. This writes one page.
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")


def _damage(connection: sqlite3.Connection) -> str | None:
    """The first fault in the structure of the file, None if there is none."""
    ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    return None if found == "ok" else str(found)
