"""Several processes on one file: writers that are killed, sessions that vanish under a writer.

SC_SQLITE_KILLS says how many times the writers are killed; 2 unless set.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import Message, Patch, run_now, utc_now

from ..kit.conversations import new_session, stored_messages

if TYPE_CHECKING:
    from .conftest import OpenStore, StartProgram

KILLS = int(os.environ.get("SC_SQLITE_KILLS", "2"))
WRITERS = 8
APPENDS = 200
BEHIND = (0, 0, 0, 0, 5, 60, 3600, 0.001)
"""How many seconds each writer's clock is behind."""


@dataclass(frozen=True)
class Acknowledged:
    id: str
    began: int
    ended: int

    @classmethod
    def read(cls, line: str) -> Acknowledged:
        message_id, began, ended = line.split()
        return cls(message_id, int(began), int(ended))


def started_together(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def the_rest(process: subprocess.Popen[str]) -> list[str]:
    """The lines that the process says until it ends well."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait(60) == 0
    return lines


def killed_after(process: subprocess.Popen[str], count: int) -> list[Acknowledged]:
    """Kill the process when it has said that so many messages are stored; everything that it said."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    lines += [line for line in process.stdout if line.endswith("\n")]
    assert process.wait(60) == -signal.SIGKILL
    return [Acknowledged.read(line) for line in lines]


@pytest.mark.parametrize("round_", range(KILLS))
def test_a_killed_writer_loses_nothing_acknowledged(
    open_store: OpenStore, start_program: StartProgram, database: Path, round_: int
) -> None:
    run_now(open_store().create_session(new_session()))
    writers = [start_program("append.py", database, f"w{n}", APPENDS, BEHIND[n]) for n in range(WRITERS)]
    started_together(writers)
    victim = random.Random(round_).randrange(WRITERS)
    said = {victim: killed_after(writers[victim], random.Random(round_).randint(20, 150))}
    for number, writer in enumerate(writers):
        if number != victim:
            said[number] = [Acknowledged.read(line) for line in the_rest(writer)]
            assert len(said[number]) == APPENDS
    store = open_store()
    stored = stored_messages(store)
    check_stored_once_and_in_order(stored, said, victim)
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.message_count == len(stored)
    assert session.token_count == sum(message.token_count or 0 for message in stored)
    assert session.last_activity_at == stored[-1].created_at
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_stored_once_and_in_order(stored: list[Message], said: dict[int, list[Acknowledged]], victim: int) -> None:
    ids = [message.id for message in stored]
    assert len(set(ids)) == len(ids)
    for number, acknowledged in said.items():
        own = [message for message in stored if str(message.content).startswith(f"w{number} ")]
        assert [message.content for message in own] == [f"w{number} {count}" for count in range(len(own))]
        assert [message.id for message in own][: len(acknowledged)] == [one.id for one in acknowledged]
        assert len(own) - len(acknowledged) in ((0, 1) if number == victim else (0,))
    assert all(earlier.created_at <= later.created_at for earlier, later in pairwise(stored))
    check_acknowledged_before_comes_before(ids, said)


def check_acknowledged_before_comes_before(ids: list[str], said: dict[int, list[Acknowledged]]) -> None:
    """No message may come after one that began when it was acknowledged already."""
    known = {one.id: one for acknowledged in said.values() for one in acknowledged}
    earliest_end_of_later = None
    for one in (known[message_id] for message_id in reversed(ids) if message_id in known):
        assert earliest_end_of_later is None or one.began < earliest_end_of_later
        earliest_end_of_later = one.ended if earliest_end_of_later is None else min(earliest_end_of_later, one.ended)


def rows(database: Path) -> dict[str, int]:
    """How many rows each table has, seen by another program."""
    with closing(sqlite3.connect(database)) as connection:
        tables = ("sessions", "session_bodies", "session_tags", "messages")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}


def racers(start_program: StartProgram, database: Path) -> list[subprocess.Popen[str]]:
    """Writers under way: each has stored one message."""
    writers = [start_program("race.py", database) for _ in range(3)]
    started_together(writers)
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline().startswith("stored")
    return writers


def ends(writers: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each writer said until it found the session gone."""
    said = [the_rest(writer) for writer in writers]
    assert [lines[-1] for lines in said] == ["gone"] * len(writers)
    return [lines[:-1] for lines in said]


def test_writers_racing_a_delete_leave_no_orphan(
    open_store: OpenStore, start_program: StartProgram, database: Path
) -> None:
    store = open_store()
    run_now(store.create_session(new_session(metadata={"tags": ["vip"]})))
    writers = racers(start_program, database)
    assert run_now(store.delete_session("s")) is True
    ends(writers)
    assert rows(database) == {"sessions": 0, "session_bodies": 0, "session_tags": 0, "messages": 0}
    run_now(store.create_session(new_session()))
    session = run_now(store.get_session("s"))
    assert session is not None
    assert (session.message_count, session.system_message_ids) == (0, [])


def test_writers_racing_an_expiry_store_nothing_after_it(
    open_store: OpenStore, start_program: StartProgram, database: Path
) -> None:
    store = open_store()
    run_now(store.create_session(new_session()))
    writers = racers(start_program, database)
    expiry = utc_now() + timedelta(milliseconds=30)
    run_now(store.update_session("s", Patch(set={"expires_at": expiry})))
    said = ends(writers)
    assert run_now(store.get_session("s")) is None
    assert list(run_now(store.get_expired_sessions(utc_now(), limit=10))) == ["s"]
    store.clock = lambda: expiry - timedelta(milliseconds=1)
    session = run_now(store.get_session("s"))
    assert session is not None
    acknowledged = sum(map(len, said)) + len(writers)
    assert (session.message_count, rows(database)["messages"]) == (acknowledged, acknowledged)
    assert run_now(store.delete_session("s", expired_before=utc_now())) is True
    assert rows(database) == {"sessions": 0, "session_bodies": 0, "session_tags": 0, "messages": 0}
