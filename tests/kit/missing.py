"""What happens where a server is not installed: tests are skipped and nothing is proved, but in CI it is an error."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import pytest

from session_continuity import ConfigError


def skip_test(reason: str) -> NoReturn:
    """Skip the running test, or fail it in CI. `reason` says what is missing and how to install it."""
    if _in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def no_stores(reason: str) -> list[str]:
    """The empty list of stores that a harness yields; in CI, raises ConfigError instead.

    The reason is printed past pytest's capture, so that a run that proved nothing does not look like one that did.
    """
    if _in_ci():
        raise ConfigError(reason)
    print(f"not proved: {reason}", file=sys.__stderr__)
    return []


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"
