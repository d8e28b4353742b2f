"""A process that is killed between two Commits of one call: others see the whole or nothing, and complete it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from session_continuity import Session, SessionNotFoundError

from ..kit.conversations import new_session
from .bench import Bench

PROGRAM = Path(__file__).parent / "programs" / "killed.py"
MANY = 1200

Kill = Callable[[str, int], None]


@pytest.fixture
def session(bench: Bench) -> Session:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, MANY)
    return session


@pytest.fixture
def kill(bench: Bench, session: Session) -> Kill:
    """Begins a call in another process, and kills it with SIGKILL when it has made so many Commits."""

    def begin(call: str, commits: int) -> None:
        told = json.dumps({"url": bench.url, "session": session.id, "call": call, "commits": commits})
        process = subprocess.Popen([sys.executable, str(PROGRAM), told], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stopped\n"
        finally:
            process.kill()
            process.communicate()

    return begin


def test_a_delete_that_was_killed_is_completed_by_another(bench: Bench, session: Session, kill: Kill) -> None:
    kill("delete", 2)
    store = bench.open()
    assert 0 < bench.left_of(session.id) < MANY
    assert bench.run(store.get_session(session.id)) is None
    with pytest.raises(SessionNotFoundError):
        bench.run(store.append_messages(session.id, [bench.says(session)]))
    found = bench.run(store.get_expired_sessions(bench.clock(), limit=10))
    assert list(found) == [session.id]
    assert not bench.run(store.delete_session(session.id)), "it is gone since the delete has begun"
    assert bench.left_of(session.id) == 0


def test_a_create_removes_what_a_killed_delete_has_left(bench: Bench, session: Session, kill: Kill) -> None:
    kill("delete", 2)
    store = bench.open()
    bench.run(store.create_session(new_session(session.id, now=bench.clock())))
    assert bench.left_of(session.id) == 0


def test_a_fork_that_was_killed_is_not_there_and_is_completed_by_another(
    bench: Bench, session: Session, kill: Kill
) -> None:
    kill("fork", 2)
    store = bench.open()
    assert bench.left_of("fork") > 0
    assert bench.run(store.get_session("fork")) is None
    fork = new_session("fork", now=bench.clock(), forked_from={"session_id": session.id})
    forked = bench.run(store.fork_session(session.id, fork))
    assert (forked.message_count, bench.left_of("fork")) == (MANY, MANY)
