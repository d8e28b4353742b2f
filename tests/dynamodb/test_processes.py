"""Several processes on one table: writers at once, writers whose clocks disagree, a process that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from session_continuity import MessageQuery, Session, SessionNotFoundError, run_now, utc_now
from session_continuity_dynamodb.items.keys import Keys

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Call, proxy_to
from .bench import Bench, item_of

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

PROGRAMS = Path(__file__).parent / "programs"

Starts = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def starts() -> Iterator[Starts]:
    """Starts one of the programs beside the tests."""
    with ExitStack() as stack:

        def start(program: str, told: dict[str, Any]) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, PROGRAMS / program, json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return stack.enter_context(process)

        yield start


def told(bench: Bench, session: Session, **more: Any) -> dict[str, Any]:
    options = {name: value for name, value in bench.engine.options.items() if name != "create_table"}
    store = {"table": bench.table, "namespace": bench.namespace, **options}
    return {"store": store, "session": session.id, **more}


def say(process: subprocess.Popen[str], line: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass(frozen=True)
class Append:
    content: str
    began: int
    ended: int


def hear_append(process: subprocess.Popen[str]) -> Append:
    content, began, ended = hear(process).split()
    return Append(content, int(began), int(ended))


def against_acknowledgement(contents: list[str], acknowledged: list[Append]) -> list[tuple[str, str]]:
    """Pairs of which one was acknowledged before the other began, and yet comes after it."""
    place = {content: number for number, content in enumerate(contents)}
    return [
        (first.content, second.content)
        for first in acknowledged
        for second in acknowledged
        if first.ended < second.began and place[first.content] > place[second.content]
    ]


def test_16_writers_in_4_processes_lose_and_repeat_nothing(bench: Bench, starts: Starts) -> None:
    store = bench.open()
    bench.clock.now = utc_now()
    session = bench.create(store)
    writers = [
        starts("writer.py", told(bench, session, name=f"w{n}", skew=0, threads=4, count=40, in_turns=False))
        for n in range(4)
    ]
    assert [hear(writer) for writer in writers] == ["ready"] * 4
    for writer in writers:
        say(writer)
    acknowledged = [hear_append(writer) for writer in writers for _ in range(40)]
    assert [writer.wait() for writer in writers] == [0] * 4

    page = run_now(store.get_messages(session.id, MessageQuery(limit=1000)))
    contents = [str(message.content) for message in page]
    assert sorted(contents) == sorted(append.content for append in acknowledged)
    assert len(contents) == 160
    assert against_acknowledgement(contents, acknowledged) == []
    held = run_now(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (160, 160)
    assert held.last_activity_at == page[-1].created_at


def test_order_is_acknowledgement_order_whatever_the_clocks(bench: Bench, starts: Starts) -> None:
    store = bench.open()
    bench.clock.now = utc_now()
    session = bench.create(store)
    behind, ahead = (
        starts("writer.py", told(bench, session, name=name, skew=skew, threads=1, count=10, in_turns=True))
        for name, skew in (("behind", -2), ("ahead", 2))
    )
    assert (hear(behind), hear(ahead)) == ("ready", "ready")
    expected: list[str] = []
    for _ in range(10):
        for writer in (ahead, behind):
            say(writer)
            expected.append(hear_append(writer).content)
    page = run_now(store.get_messages(session.id, MessageQuery()))
    assert [message.content for message in page] == expected
    times = [message.created_at for message in page]
    assert times == sorted(times)


def test_delete_that_was_killed_half_way_is_finished_by_the_next(bench: Bench, starts: Starts) -> None:
    store = bench.open()
    session = bench.create(store, user_id="u")
    keys = Keys(bench.namespace)
    rows = [item_of(keys, bench.message(session, "x" * 200), own_id=False, compression=None) for _ in range(2000)]
    bench.write_rows(rows)
    half_way = threading.Event()
    with proxy_to(bench.engine.url) as proxy:

        def stall(_: Call) -> tuple[int, dict[str, str], bytes]:
            half_way.set()
            gone.wait()
            return 500, {}, b""

        gone = threading.Event()
        proxy.rules["BatchWriteItem"] = [Call.forward] * 20 + [stall] * 80
        task = told(bench, session)
        task["store"] |= {"endpoint_url": proxy.url, "read_timeout": 60}
        process = starts("deleter.py", task)
        assert half_way.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        gone.set()

    left = bench.rows(session.id)
    assert 0 < len(left) < 2000
    with pytest.raises(SessionNotFoundError):
        run_now(store.append_messages(session.id, [bench.message(session)]))
    with pytest.raises(SessionNotFoundError):
        run_now(store.get_messages(session.id, MessageQuery()))
    assert run_now(store.get_session(session.id)) is None
    assert run_now(store.delete_session(session.id))
    assert bench.rows(session.id) == []
    assert not run_now(store.delete_session(session.id))


@pytest.mark.parametrize("given", [False, True])
def test_children_that_are_forked_with_a_store_in_use_get_their_own_answers(
    bench: Bench, starts: Starts, given: bool
) -> None:
    store = bench.open()
    sessions = [bench.create(store) for _ in range(4)]
    program = starts("forker.py", told(bench, sessions[0], given=given, sessions=[session.id for session in sessions]))
    assert hear(program) == "0"


def test_program_that_ends_may_still_end_its_session(bench: Bench, starts: Starts) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, 30)
    program = starts("ender.py", told(bench, session))
    assert (hear(program), program.wait()) == ("title after 30 messages", 0)
    assert bench.rows(session.id) == []
