"""session-continuity on PostgreSQL: `postgresql://user:password@host/database`, or `PostgresStorage(pool)`.

A session is a row, its messages are rows of another table. Every write is one call of a function in the database: it
locks the session's row, then sees what earlier holders of the lock have written, checks, and writes. So a write is one
round trip and one transaction, whatever it meets, also behind a pooler that gives each transaction to another server
connection.

Bodies are JSON as TEXT. JSONB refuses NUL, sorts keys, and changes numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_postgres._version import __version__

if TYPE_CHECKING:
    from session_continuity_postgres.adapter import PostgresStorage

__all__ = ["PostgresStorage", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `PostgresStorage` when it is first used: core imports this package without the database library."""
    if name == "PostgresStorage":
        from session_continuity_postgres.adapter import PostgresStorage

        return PostgresStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
