"""The CPU time of choosing and repairing a context of 1,000 messages, which are read already."""

from __future__ import annotations

import os
import time
from typing import get_args

from tests.kit.damaged_chats import Form, plan, stored

from session_continuity import Message

MESSAGES = 1000
RUNS_PER_ROUND = 20


def print_planning(rounds: int) -> None:
    """Print a line for each form in which calls and results lie: the best of all runs."""
    for form in get_args(Form):
        messages = stored(form, MESSAGES)
        best = min(_spent(messages) for _ in range(rounds * RUNS_PER_ROUND))
        repaired = sum(entry.action != "kept" for entry in plan(messages).entries)
        print(
            f"a context of {MESSAGES} messages with {repaired} repairs, {form}: {best * 1000:.1f} ms of CPU "
            f"at a load of {os.getloadavg()[0]:.0f}; goal: ≤ 5 ms"
        )


def _spent(messages: list[Message]) -> float:
    before = time.process_time()
    plan(messages)
    return time.process_time() - before
