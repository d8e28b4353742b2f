"""Append to a session when told to: PATH NAME COUNT BEHIND.

Answers `ready`, waits for a line, appends COUNT messages whose clock is BEHIND seconds behind, and after each
acknowledgement answers one line: the stored id and the monotonic times, in nanoseconds, before and after the call.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from session_continuity import Message, run_now, utc_now
from session_continuity.ids import MessageIds
from session_continuity_sqlite import SqliteStorage

path, name, count, behind = sys.argv[1], sys.argv[2], int(sys.argv[3]), timedelta(seconds=float(sys.argv[4]))
ids = MessageIds(lambda: utc_now() - behind)
store = SqliteStorage(path, busy_timeout=60)
print("ready", flush=True)  # noqa: T201
sys.stdin.readline()
for number in range(count):
    message_id, created_at = ids.mint()
    message = Message(
        id=message_id,
        session_id="s",
        role="user",
        content=f"{name} {number}",
        token_count=number,
        created_at=created_at,
    )
    began = time.monotonic_ns()
    stored = run_now(store.append_messages("s", [message])).messages[0].id
    print(stored, began, time.monotonic_ns(), flush=True)  # noqa: T201
run_now(store.close())
