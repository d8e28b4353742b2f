"""Write to session `s` of PATH until it is gone; answers `ready`, waits for a line, then one line per outcome."""

from __future__ import annotations

import sys

from session_continuity import Message, SessionNotFoundError, run_now, utc_now
from session_continuity.ids import MessageIds
from session_continuity_sqlite import SqliteStorage

ids = MessageIds(utc_now)
store = SqliteStorage(sys.argv[1], busy_timeout=60)
print("ready", flush=True)  # noqa: T201
sys.stdin.readline()
try:
    while True:
        message_id, created_at = ids.mint()
        message = Message(id=message_id, session_id="s", role="system", content="late", created_at=created_at)
        run_now(store.append_messages("s", [message]))
        print("stored", flush=True)  # noqa: T201
except SessionNotFoundError:
    print("gone", flush=True)  # noqa: T201
run_now(store.close())
