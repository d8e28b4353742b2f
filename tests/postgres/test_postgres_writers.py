"""Many writers in several processes on one session: nothing lost, doubled or out of order, and exact totals."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

from session_continuity import SessionManager, minted_at

from ..kit.conversations import contents
from ..kit.postgres_servers import PostgresServer

PROCESSES, THREADS, APPENDS = 4, 4, 25
BEHIND = (0.0, 0.0, 0.05, 60.0)
"""How many seconds each process's clock is behind."""

WRITER = """
import sys, threading
from datetime import timedelta
from session_continuity import Registry, SessionManager, innermost, utc_now
url, process, threads, appends, behind = sys.argv[1], *map(float, sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
store = Registry().create(url, "blocking")
innermost(store).clock = lambda: utc_now() - timedelta(seconds=behind)
with SessionManager(store) as manager:
    def write(thread):
        for number in range(int(appends)):
            manager.add_messages("s", [
                {"role": "user", "content": f"{process:g}.{thread} {number}", "token_count": 3},
                {"role": "system", "content": f"{process:g}.{thread} {number} system", "token_count": 4},
            ])
    running = [threading.Thread(target=write, args=[number]) for number in range(int(threads))]
    for each in running: each.start()
    for each in running: each.join()
"""


def test_writers_of_several_processes_share_a_session(server: PostgresServer, namespace: str) -> None:
    url = f"{server.url}?namespace={namespace}"
    with SessionManager.open(url) as manager:
        manager.create_session(id="s")
        arguments = [[url, *map(str, (number, THREADS, APPENDS, BEHIND[number]))] for number in range(PROCESSES)]
        programs = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, *each], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for each in arguments
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            program.communicate("\n", timeout=200)
            assert program.returncode == 0
        messages = [*manager.get_messages("s")]
        session = manager.get_session("s")
    turns = PROCESSES * THREADS * APPENDS
    stored = contents(messages)
    assert len(stored) == len(set(stored)) == 2 * turns
    assert all(second == f"{first} system" for first, second in zip(stored[::2], stored[1::2], strict=True))
    for name in {text.split()[0] for text in stored}:
        own = [int(text.split()[1]) for text in stored[::2] if text.split()[0] == name]
        assert own == list(range(APPENDS))
    assert all(earlier.created_at <= later.created_at for earlier, later in pairwise(messages))
    assert all(minted_at(message.id) == message.created_at for message in messages)
    assert (session.message_count, session.token_count) == (2 * turns, 7 * turns)
    assert session.system_message_ids == [message.id for message in messages if message.role == "system"]
    assert session.last_activity_at == messages[-1].created_at
