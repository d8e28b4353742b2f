"""What holds for every test, however the run was started."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A shell starts background jobs with Ctrl-C ignored, which every process below inherits; some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
