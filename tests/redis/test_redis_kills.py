"""Clients and servers that are killed during replaced tails and forks: everything is there whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

from session_continuity import SessionFilter, SessionManager, innermost, run_now
from session_continuity_redis import RedisStorage

from ..kit.redis_cluster import Cluster
from .conftest import MakeServer

pytestmark = pytest.mark.on(engine=["redis"])

KEPT, TAIL = 60, 10

PROGRAM = dedent("""
    import itertools, sys
    from session_continuity import SessionManager

    url, last_kept, run, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    with SessionManager.open(url) as manager:
        for number in itertools.count():
            name = f"{run}.{number}"
            messages = [{"role": "user", "content": f"{name} {place}"} for place in range(size)]
            manager.replace_messages_after("s", last_kept, messages)
            print("tail", name, flush=True)
            manager.fork_session("s", id=f"fork {name}")
            print("fork", name, flush=True)
""")


def write_until_killed(url: str, last_kept: str, run: int, kill: object, acknowledged: int) -> list[str]:
    """Have a process replace tails and fork until it is killed, or its server is. Returns what was acknowledged."""
    arguments = [sys.executable, "-c", PROGRAM, url, last_kept, str(run), str(TAIL)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        assert all(lines)
        process.kill() if kill is None else kill()  # type: ignore[operator]
        lines += process.stdout.readlines()
        if process.poll() is None:
            process.wait(60)
    return [line.strip() for line in lines]


def check_whole(manager: SessionManager, acknowledged: list[str]) -> None:
    """Assert that session and forks have a whole tail each, and that lists have exactly the sessions that are there."""
    forks = [fork.session_id for fork in manager.list_forks("s")]
    done = [line.split(" ")[1] for line in acknowledged if line.startswith("fork")]
    assert {f"fork {name}" for name in done} <= set(forks)
    listed = [session.id for session in manager.list_sessions(user_id="ada", limit=None)]
    assert Counter(listed) == Counter(["s", *forks])
    storage = innermost(manager._storage.adapter)
    assert isinstance(storage, RedisStorage)
    for order in ("recent", "idle") if storage.capabilities.activity_listing else ():
        page = run_now(storage.list_sessions(SessionFilter(user_id="ada", order=order), limit=1000))
        assert Counter(session.id for session in page) == Counter(listed)
    for name in ["s", *[name for name in listed if name != "s"][:5]]:  # the newest ones
        contents = [str(message.content) for message in manager.get_messages(name)]
        assert manager.get_session(name).message_count == len(contents) == KEPT + TAIL
        tails = [content.split(" ") for content in contents[KEPT:]]
        assert [place for _, place in tails] == [str(place) for place in range(TAIL)]
        assert {run for run, _ in tails} == {tails[0][0] if name == "s" else name.removeprefix("fork ")}


def prepare(manager: SessionManager) -> str:
    """Create the session that is written to. Returns the id of the last message that stays."""
    manager.create_session(id="s", user_id="ada")
    batch = [{"role": "user", "content": f"kept {number}"} for number in range(KEPT)]
    last_kept = manager.add_messages("s", batch)[-1].id
    manager.replace_messages_after("s", last_kept, [{"role": "user", "content": f"0 {n}"} for n in range(TAIL)])
    return last_kept


@pytest.mark.parametrize("victim", ["client", "server"])
def test_tails_and_forks_are_whole_after_a_kill(make_server: MakeServer, victim: str) -> None:
    server = make_server("--appendonly", "yes", "--appendfsync", "always")
    with SessionManager.open(server.url) as manager:
        last_kept = prepare(manager)
        acknowledged: list[str] = []
        for run in range(1, 3):
            kill = None if victim == "client" else server.kill
            acknowledged += write_until_killed(f"{server.url}?retries=0", last_kept, run, kill, 11 + run)
            if victim == "server":
                server.start()
            check_whole(manager, acknowledged)


def test_tails_and_forks_on_a_cluster_are_whole_after_a_kill(one_engine: str, tmp_path: Path) -> None:
    cluster = Cluster(one_engine, tmp_path).start()
    try:
        with SessionManager.open(cluster.url) as manager:
            last_kept = prepare(manager)
            acknowledged: list[str] = []
            for run in range(1, 6):
                acknowledged += write_until_killed(f"{cluster.url}&retries=0", last_kept, run, None, 11 + run)
                check_whole(manager, acknowledged)
    finally:
        cluster.stop()
