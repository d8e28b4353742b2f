"""Replaces the tail of session s and forks it, until it has done so often enough; says `done` after each round.

Arguments: the database file, the name of the writer, the number of rounds.
"""

from __future__ import annotations

import sys

from session_continuity import SessionManager

database, name, rounds = sys.argv[1:]

with SessionManager.open(f"sqlite:///{database}") as manager:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    first = manager.get_messages("s", limit=1)[0]
    for number in range(int(rounds)):
        batch = [{"role": "user", "content": f"{name} {number}"} for _ in range(20)]
        manager.replace_messages_after("s", first.id, batch)
        manager.fork_session("s", id=f"{name}-{number}", user_id="forks")
        print("done", flush=True)  # noqa: T201
