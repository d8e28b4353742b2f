"""Fork with an open store, in the ways that a server does: PATH MODE.

Works with one store on both sides of the fork; prints `done` when both have ended well.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime

from session_continuity import Message, Session, StorageError, portable, run_now
from session_continuity.ids import MessageIds
from session_continuity_sqlite import SqliteStorage, pool

path, mode = sys.argv[1:]
ids = MessageIds(lambda: datetime.now(UTC))
adapter = SqliteStorage(path, busy_timeout=0.1 if mode == "inside_a_call" else 10)
store = portable(adapter)


def says(text: str) -> None:
    message_id, created_at = ids.mint()
    message = Message(id=message_id, session_id="s", role="user", content=text, created_at=created_at)
    run_now(store.append_messages("s", [message]))


def pipe() -> tuple[int, int]:
    """A pipe by which one side tells the other to go on."""
    return os.pipe()


def parent_closes_first() -> None:
    """The parent removes the log when it closes, unless the child's connections hold it."""
    child_wrote, parent_closed = pipe(), pipe()
    child = os.fork()
    if child == 0:
        says("child before")
        os.write(child_wrote[1], b".")
        os.read(parent_closed[0], 1)
        says("child after")
        os._exit(0)
    os.read(child_wrote[0], 1)
    says("parent")
    run_now(store.close())
    os.write(parent_closed[1], b".")
    assert os.waitpid(child, 0)[1] == 0


def while_a_thread_writes() -> None:
    """The fork falls into the calls of other threads."""
    stop, begun = threading.Event(), threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            says(f"thread {written}")
            written += 1
            begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    for number in range(10):
        child = os.fork()
        if child == 0:
            says(f"child {number}")
            run_now(store.close())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    thread.join()
    says(f"written {written}")


def inside_a_call() -> None:
    """Somebody forks in the middle of a call: nothing can be trusted in the child, which says so."""
    pool.CLOSE_PATIENCE = 0.1

    def forks(connection: object) -> int:
        del connection
        return os.fork()

    child = adapter.native.read(forks)
    if child == 0:
        try:
            says("never")
        except StorageError as error:
            os._exit(0 if "forked in the middle of a call" in error.message else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    says("parent")


run_now(store.setup())
now = datetime.now(UTC)
run_now(store.create_session(Session(id="s", created_at=now, last_activity_at=now)))
says("before")
{
    "parent_closes_first": parent_closes_first,
    "while_a_thread_writes": while_a_thread_writes,
    "inside_a_call": inside_a_call,
}[mode]()
run_now(store.close())
print("done", flush=True)  # noqa: T201
