"""Sixteen writers in four processes on one session."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from textwrap import dedent

import pytest

from session_continuity import Mode, SessionManager

from ..kit.modes import MODES
from ..kit.redis_servers import EVERY_ENGINE, Server

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)

PROCESSES, WRITERS, EACH = 4, 4, 25

BLOCKING = """
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from session_continuity import SessionManager

    url, process, writers, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with SessionManager.open(url) as manager, ThreadPoolExecutor(writers) as pool:
        def write(writer):
            return [
                manager.add_message("s", role="user", content=f"{process}.{writer}-{number}").id
                for number in range(each)
            ]
        print("ready", flush=True)
        sys.stdin.readline()
        for done in [pool.submit(write, writer) for writer in range(writers)]:
            print(*done.result())
"""

ASYNC = """
    import asyncio, sys
    from session_continuity import AsyncSessionManager

    url, process, writers, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

    async def main():
        async with AsyncSessionManager.open(url) as manager:
            async def write(writer):
                return [
                    (await manager.add_message("s", role="user", content=f"{process}.{writer}-{number}")).id
                    for number in range(each)
                ]
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            for written in await asyncio.gather(*(write(writer) for writer in range(writers))):
                print(*written)

    asyncio.run(main())
"""


def write_from_processes(url: str, mode: Mode) -> list[str]:
    """Have all writers write, and return the ids that were acknowledged to them."""
    program = dedent(BLOCKING if mode == "blocking" else ASYNC)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, url, str(process), str(WRITERS), str(EACH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(PROCESSES)
    ]
    acknowledged: list[str] = []
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in running:
        told, _ = each.communicate(timeout=120)
        assert each.returncode == 0
        acknowledged += told.split()
    return acknowledged


def check_all_there(url: str, acknowledged: list[str]) -> None:
    with SessionManager.open(url) as manager:
        stored = list(manager.get_messages("s"))
        found = manager.get_session("s")
    assert len(acknowledged) == PROCESSES * WRITERS * EACH
    assert Counter(message.id for message in stored) == Counter(acknowledged)
    assert len({str(message.content) for message in stored}) == len(stored)
    assert found.message_count == len(stored)
    times = [message.created_at for message in stored]
    assert times == sorted(times)
    for writer in {str(message.content).split("-")[0] for message in stored}:
        own = [int(str(m.content).split("-")[1]) for m in stored if str(m.content).split("-")[0] == writer]
        assert own == list(range(EACH))


def test_sixteen_writers_in_four_processes_lose_and_repeat_nothing(server: Server, namespace: str, mode: Mode) -> None:
    url = f"{server.url}?namespace={namespace}"
    with SessionManager.open(url) as manager:
        manager.create_session(id="s")
    check_all_there(url, write_from_processes(url, mode))
