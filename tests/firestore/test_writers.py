"""Many writers of one session: nothing is lost or doubled, at a bounded cost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from session_continuity import Appended, Session, SessionNotFoundError, StorageAdapter, StorageError, run_now

from ..kit.conversations import read_messages
from ..kit.modes import MODES
from ..kit.threads import run_in_threads
from ..kit.waiting import wait_until
from .bench import Bench, driver_of

PROGRAMS = Path(__file__).parent / "programs"
WRITERS, ROUNDS = 16, 5


@pytest.mark.on(mode=MODES)
def test_16_writers_of_one_process_take_hardly_more_than_a_request_each(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    meter = driver_of(store).meter
    before, order = meter.requests, list[str]()

    async def write(writer: int) -> None:
        for number in range(ROUNDS):
            text = f"{writer}.{number}"
            appended = await store.append_messages(session.id, [bench.says(session, text)])
            order.extend(message.id for message in appended.messages)

    failures = [each for each in bench.run_together(*(partial(write, n) for n in range(WRITERS))) if each is not None]
    assert failures == []
    assert meter.requests - before <= 1.1 * WRITERS * ROUNDS
    stored = bench.run(read_messages(store, session.id))
    assert sorted(message.id for message in stored) == sorted(order)
    for writer in range(WRITERS):
        mine = [message.content for message in stored if str(message.content).startswith(f"{writer}.")]
        assert mine == [f"{writer}.{number}" for number in range(ROUNDS)]
    found = bench.run(store.get_session(session.id))
    assert found is not None
    assert (found.message_count, found.token_count) == (WRITERS * ROUNDS, WRITERS * ROUNDS)


def test_four_processes_lose_and_double_nothing(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    told = json.dumps({"url": bench.url, "session": session.id, "threads": 4, "rounds": ROUNDS})
    command = [sys.executable, str(PROGRAMS / "writer.py"), told]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    written = [text for report in reports for text in report["written"]]
    assert len(written) == 4 * 4 * ROUNDS
    stored = bench.run(read_messages(store, session.id))
    assert sorted(str(message.content) for message in stored) == sorted(written)
    times = [message.created_at for message in stored]
    assert times == sorted(times)
    found = bench.run(store.get_session(session.id))
    assert found is not None
    assert found.message_count == len(written)
    assert sum(report["requests"] for report in reports) <= 3.5 * len(written)


def test_a_delete_against_a_storm_of_appends_leaves_nothing(bench: Bench) -> None:
    store, others = bench.open(), [bench.open() for _ in range(4)]
    for _ in range(5):
        session = bench.create(store)
        bench.append(store, session, 30)
        ended = threading.Event()
        threads = [threading.Thread(target=storm, args=(bench, other, session, ended)) for other in others]
        for thread in threads:
            thread.start()
        wait_until(lambda: bench.left_of(session.id) > 40, "the storm to begin")  # noqa: B023
        assert bench.run(store.delete_session(session.id))
        ended.set()
        for thread in threads:
            thread.join()
        assert bench.left_of(session.id) == 0
        assert bench.run(store.get_session(session.id)) is None


def test_of_two_deletes_beside_appends_one_has_deleted_the_session(bench: Bench) -> None:
    """The appends make the Commits of both fail, so that both mark the session. Only the first mark counts."""
    stores = [bench.open() for _ in range(4)]
    for number in range(20):
        session = bench.create(stores[0])
        deletes = [partial(delete, store, session) for store in stores[:2]]
        told = run_in_threads([*deletes, *(partial(append_until_gone, bench, store, session) for store in stores[2:])])
        assert sorted(told[:2]) == [False, True], (number, told)


def delete(store: StorageAdapter, session: Session) -> bool:
    return run_now(store.delete_session(session.id))


def append_until_gone(bench: Bench, store: StorageAdapter, session: Session) -> None:
    with suppress(SessionNotFoundError):
        while True:
            run_now(store.append_messages(session.id, [bench.says(session, "more")]))


def storm(bench: Bench, store: StorageAdapter, session: Session, ended: threading.Event) -> Appended | None:
    """Append until the session is gone."""
    last: Appended | None = None
    number = 0
    while not ended.is_set():
        number += 1
        message = bench.says(session, id=f"{threading.get_ident()}.{number}")
        try:
            last = run_now(store.append_messages(session.id, [message], client_ids=[message.id]))
        except StorageError:
            continue
        except Exception:
            return last
    return last
