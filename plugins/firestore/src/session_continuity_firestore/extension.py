"""The extension that core finds through its entry point: the commands about the database.

Every program that opens a store imports it, also programs without a command line. So it imports neither typer nor one
of Google's libraries.
"""

from __future__ import annotations

from typing import Any

from session_continuity import hookimpl


@hookimpl
def sc_cli_commands(app: Any) -> None:
    """Add the group `firestore` to the command line."""
    from session_continuity_firestore.database.cli import add_commands

    add_commands(app)
