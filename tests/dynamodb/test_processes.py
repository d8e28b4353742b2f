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
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from session_continuity import Appended, MessageQuery, Page, Session, SessionNotFoundError, run_now, utc_now
from session_continuity_dynamodb.items.keys import Keys

from ..kit.conversations import stored_contents
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


SMALL = 12
"""A limit on transactions with which replacing or forking 20 messages takes several."""


def kill_at(bench: Bench, starts: Starts, task: dict[str, Any], *, step: int, is_applied: bool) -> None:
    """Run the rewriter, and kill it at its write number `step`, before or after the engine has applied that."""
    reached, gone = threading.Event(), threading.Event()

    def stall(call: Call) -> tuple[int, dict[str, str], bytes]:
        answer = call.forward() if is_applied else (500, {}, b"")
        reached.set()
        gone.wait()
        return answer

    with proxy_to(bench.engine.url) as proxy:
        proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, stall]
        task["store"] |= {"endpoint_url": proxy.url, "read_timeout": 60, "transaction_items": SMALL}
        process = starts("rewriter.py", task)
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        gone.set()


@pytest.mark.parametrize(("step", "is_applied"), [(0, False), (0, True), (2, True)])
def test_killed_replacement_of_a_tail_is_never_half_visible_and_completed_by_repeating_it(
    bench: Bench, starts: Starts, step: int, is_applied: bool
) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = bench.append(store, session, 20)
    batch = [bench.message(session, f"new {n}") for n in range(2)]
    sent_again = [message.model_dump(mode="json") for message in batch]
    task = told(bench, session, fork=None, after=sent[0].id, batch=sent_again)
    kill_at(bench, starts, task, step=step, is_applied=is_applied)
    new = ["message 0", "new 0", "new 1"]
    seen = new if is_applied else [message.content for message in sent]
    late = bench.message(session, "late")
    readers = [partial(each.get_messages, session.id, MessageQuery()) for each in (bench.open(), bench.open())]
    calls: list[Callable[[], Any]] = [*readers, partial(bench.open().append_messages, session.id, [late])]
    *pages, appended = bench.run_together(*calls)
    assert isinstance(appended, Appended)
    for page in pages:
        assert isinstance(page, Page)
        assert [message.content for message in page if message.content != "late"] == seen
    replaced = run_now(bench.open().replace_tail(session.id, sent[0].id, batch))
    assert (replaced.repeated, replaced.removed_count) == (False, len(seen))
    assert stored_contents(store, session.id) == new
    held = run_now(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, len(bench.rows(session.id))) == (3, 5)


@pytest.mark.parametrize(("step", "is_applied"), [(1, True), (3, False)])
def test_killed_fork_is_never_half_visible_and_completed_by_repeating_it(
    bench: Bench, starts: Starts, step: int, is_applied: bool
) -> None:
    store = bench.open()
    source = bench.create(store)
    sent = bench.append(store, source, 20)
    through = sent[-1].id
    fork = bench.session(forked_from={"session_id": source.id, "message_id": through}, creation_token="call")
    task = told(bench, source, fork=fork.model_dump(mode="json"), through=through)
    kill_at(bench, starts, task, step=step, is_applied=is_applied)
    assert run_now(store.get_session(fork.id)) is None
    assert not run_now(store.list_forks(source.id, limit=5))
    bench.append(store, source)
    again = run_now(bench.open().fork_session(source.id, fork, through_id=through))
    assert again.message_count == 20
    assert stored_contents(store, fork.id) == [message.content for message in sent]
    assert len(stored_contents(store, source.id)) == 21


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
