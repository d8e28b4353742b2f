"""Set a store up when told to: PATH; answers `ready`, waits for a line, sets up, answers what health says."""

from __future__ import annotations

import sys

from session_continuity import run_now
from session_continuity_sqlite import SqliteStorage

store = SqliteStorage(sys.argv[1])
print("ready", flush=True)  # noqa: T201
sys.stdin.readline()
run_now(store.setup())
print(run_now(store.health()).status, flush=True)  # noqa: T201
run_now(store.close())
