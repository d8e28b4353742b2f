"""What core finds through the extensions' entry point.

Loaded by every program that opens a store, also by those without a command line: imports neither typer nor an AWS
library.
"""

from __future__ import annotations

from typing import Any

from session_continuity import hookimpl


@hookimpl
def sc_cli_commands(app: Any) -> None:
    """The group `dynamodb`."""
    from session_continuity_dynamodb.cli import add_commands

    add_commands(app)
