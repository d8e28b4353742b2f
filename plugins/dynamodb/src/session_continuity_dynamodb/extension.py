"""The extension that core finds through its entry point: the commands about the table.

Every program that opens a store imports it, also programs without a command line. So it imports neither typer nor an
AWS library.
"""

from __future__ import annotations

from typing import Any

from session_continuity import hookimpl


@hookimpl
def sc_cli_commands(app: Any) -> None:
    """Add the group `dynamodb` to the command line."""
    from session_continuity_dynamodb.table.cli import add_commands

    add_commands(app)
