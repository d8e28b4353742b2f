"""The clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["Clock", "utc_now"]

Clock = Callable[[], datetime]
"""Returns the current time, with a time zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The current time in UTC, cut to milliseconds."""
    # datetime.now() rounds to microseconds; from whole nanoseconds the result is exact.
    return _EPOCH + timedelta(milliseconds=time.time_ns() // 1_000_000)
