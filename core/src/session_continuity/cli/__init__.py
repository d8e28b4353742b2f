"""The command line `session-continuity`, which needs the extra `[cli]`. The library never imports it."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NOT_INSTALLED, _INTERRUPTED = 2, 130


def main() -> None:
    """Run the command line of this process and exit."""
    program = "python -m session_continuity" if sys.argv[0].endswith("__main__.py") else "session-continuity"
    try:
        try:
            from session_continuity.cli.app import run
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in ("typer", "rich"):
                raise
            sys.stderr.write("error: the command line needs typer and rich: pip install 'session-continuity[cli]'\n")
            sys.exit(_NOT_INSTALLED)
        sys.exit(run(sys.argv[1:], program))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
