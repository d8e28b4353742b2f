"""Tails that are replaced and sessions that are forked by several processes, one of which is killed: each is there
whole or not at all."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from session_continuity import Message, SessionManager

if TYPE_CHECKING:
    from .conftest import StartProgram

ROUNDS = 15


def check_whole(messages: list[Message]) -> None:
    """Check that a conversation is its first message and one tail."""
    assert len(messages) == 21
    assert len({message.content for message in messages[1:]}) == 1


def test_a_killed_writer_leaves_no_half_of_a_tail_or_fork(start_program: StartProgram, database: Path) -> None:
    with SessionManager.open(f"sqlite:///{database}") as manager:
        first = manager.create_session(id="s") and manager.add_message("s", "user", "first")
        manager.replace_messages_after("s", first.id, [{"role": "user", "content": "0"}] * 20)
        writers = [start_program("branch.py", database, name, ROUNDS) for name in ("a", "b", "c")]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        victim, *others = writers
        assert victim.stdout is not None
        for _ in range(5):
            assert victim.stdout.readline() == "done\n"
            check_whole(list(manager.get_messages("s")))
        victim.send_signal(signal.SIGKILL)
        acknowledged = 5 + victim.stdout.read().count("done\n")
        while any(writer.poll() is None for writer in others):
            check_whole(list(manager.get_messages("s")))
        assert [writer.returncode for writer in others] == [0, 0]
        forks = list(manager.list_sessions(user_id="forks", limit=None))
        assert 2 * ROUNDS + acknowledged <= len(forks) <= 2 * ROUNDS + acknowledged + 1
        for fork in forks:
            check_whole(list(manager.get_messages(fork.id)))
            assert (fork.message_count, fork.token_count) == (21, sum_of_tokens(manager, fork.id))
        assert {fork.session_id for fork in manager.list_forks("s")} == {fork.id for fork in forks}
        session = manager.get_session("s")
        assert (session.message_count, session.token_count) == (21, sum_of_tokens(manager, "s"))
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def sum_of_tokens(manager: SessionManager, session_id: str) -> int:
    """The tokens of a session's messages."""
    return sum(message.token_count or 0 for message in manager.get_messages(session_id))
