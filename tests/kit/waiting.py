"""Waiting for what other threads, processes and servers do, without a fixed sleep."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

_POLL_SECONDS = 0.01


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Call `condition` until it returns something true.

    `what` completes the sentence "waited in vain for ...". Raises AssertionError after `seconds`. An exception from
    `condition` ends the waiting, so a condition can assert that the process it watches still runs.
    """
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        pause.wait(_POLL_SECONDS)


async def wait_in_loop(event: threading.Event, seconds: float = 20.0) -> None:
    """Wait for a thread's event while the event loop goes on. Raises AssertionError after `seconds`."""
    assert await asyncio.to_thread(event.wait, seconds), f"the event was not set within {seconds:g} s"
