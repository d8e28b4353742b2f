"""What a run of the conformance suite does without a server that this machine does not have."""

from __future__ import annotations

import os
import sys

from session_continuity import ConfigError


def not_proved(reason: str) -> list[str]:
    """No store: told past the capture of pytest, and in CI an error."""
    if os.environ.get("CI") == "true":
        raise ConfigError(reason)
    print(f"not proved: {reason}", file=sys.__stderr__)
    return []
