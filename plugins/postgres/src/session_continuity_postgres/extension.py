"""The extension that core finds through its entry point: the commands about the tables.

Every program that opens a store imports it, also programs without a command line. So it imports neither typer nor
psycopg.
"""

from __future__ import annotations

from typing import Any

from session_continuity import hookimpl


@hookimpl
def sc_cli_commands(app: Any) -> None:
    """Add the group `postgres` to the command line."""
    from session_continuity_postgres.cli import add_commands

    add_commands(app)
