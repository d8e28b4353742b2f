"""Clocks that stand still until a test moves them. A store takes one as its `clock`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
"""The time at which a test clock starts. Tests state other times relative to it."""

FUTURE = datetime(2036, 3, 1, 12, tzinfo=UTC)
"""A start later than the real time, for engines that delete expired items by their own clock."""


class Clock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        """Move the clock by a `timedelta`'s keyword arguments, and return the new time."""
        self.now += timedelta(**by)
        return self.now


class TickingClock:
    """A clock that moves on by one millisecond, the resolution of message ids, each time it is read."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now
