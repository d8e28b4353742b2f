"""The work that workers do on one session, in this process or in another.

`python -m session_continuity_conformance.concurrency.workers` is a worker process. It reads its job as JSON from
standard input, and then `go`. It writes each event as a line of JSON to standard output as soon as the event ended.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from session_continuity import (
    ConcurrencyError,
    Message,
    MessageQuery,
    Patch,
    Session,
    StorageAdapter,
    ThrottledError,
    UnavailableError,
    move_to,
    portable,
    utc_now,
)
from session_continuity_conformance.concurrency.histories import Event
from session_continuity_conformance.drivers import driver
from session_continuity_conformance.options import ModeName
from session_continuity_conformance.target import Target, UrlTarget, native_mode, set_up

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = (UnavailableError, ThrottledError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The work of one worker: this many rounds of the kind `register` or `conversation` on a session."""

    kind: str
    session_id: str
    worker: str
    rounds: int


async def work(adapter: StorageAdapter, job: Job) -> AsyncIterator[Event]:
    """Do a job, and yield each event."""
    act = {"register": _read_and_update, "conversation": _append_and_list}[job.kind]
    for number in range(job.rounds):
        async for event in act(adapter, job, number):
            yield event


async def history(adapter: StorageAdapter, job: Job) -> list[Event]:
    """Do a job, and return its events."""
    return [event async for event in work(adapter, job)]


async def _read_and_update(adapter: StorageAdapter, job: Job, number: int) -> AsyncIterator[Event]:
    began = time.monotonic_ns()
    found = await adapter.get_session(job.session_id)
    read = _seen(job, "read", began, found)
    yield read
    value = f"{job.worker}.{number}"
    began = time.monotonic_ns()
    try:
        updated = await adapter.update_session(job.session_id, Patch({"user_id": value}), expected_version=read.version)
    except ConcurrencyError as error:
        version = error.actual or 0
        yield Event(kind="update", worker=job.worker, began=began, ended=time.monotonic_ns(), version=version)
    except UNKNOWN:
        yield Event(kind="update", worker=job.worker, began=began, ended=None, value=value)
    else:
        yield _seen(job, "update", began, updated)


def _seen(job: Job, kind: Any, began: int, session: Session | None) -> Event:
    version, value = (0, None) if session is None else (session.version, session.user_id)
    return Event(kind=kind, worker=job.worker, began=began, ended=time.monotonic_ns(), version=version, value=value)


async def _append_and_list(adapter: StorageAdapter, job: Job, number: int) -> AsyncIterator[Event]:
    text = f"{job.worker}.{number}"
    message = _message(job.session_id, text)
    began = time.monotonic_ns()
    ended: int | None = None
    try:
        await adapter.append_messages(job.session_id, [message])
        ended = time.monotonic_ns()
    except UNKNOWN:
        pass
    yield Event(kind="append", worker=job.worker, began=began, ended=ended, texts=(text,))
    began = time.monotonic_ns()
    texts = tuple(await conversation(adapter, job.session_id))
    yield Event(kind="list", worker=job.worker, began=began, ended=time.monotonic_ns(), texts=texts)


def _message(session_id: str, text: str) -> Message:
    now = utc_now()
    message = Message(id="unminted", session_id=session_id, role="user", content=text, token_count=2, created_at=now)
    return move_to(now, [message], client_ids=())[0]


async def conversation(adapter: StorageAdapter, session_id: str) -> list[str]:
    """The texts of a conversation."""
    texts: list[str] = []
    cursor: str | None = None
    while True:
        page = await adapter.get_messages(session_id, MessageQuery(limit=1000), cursor=cursor)
        texts.extend(str(message.content) for message in page)
        cursor = page.next_cursor
        if cursor is None:
            return texts


def target_of(remote: dict[str, str]) -> Target:
    """The store that the suite described for another process."""
    if "url" in remote:
        return UrlTarget(remote["url"])
    module, _, name = remote["factory"].partition(":")
    make: Callable[[str], Target] = getattr(import_module(module), name)
    return make(remote["argument"])


async def _serve(adapter: StorageAdapter, job: Job, wait: Callable[[], Awaitable[None]]) -> None:
    await set_up(adapter)
    await wait()
    async for event in work(adapter, job):
        _write(asdict(event))
    await adapter.close()


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


async def _go() -> None:
    _write({"ready": True})
    sys.stdin.readline()


def main(arguments: Sequence[str]) -> None:
    """Run one worker with the job on standard input."""
    order = json.loads(sys.stdin.readline())
    mode: ModeName = order["mode"]
    chosen = driver(mode)
    target = target_of(order["remote"])
    adapter = portable(target.open(native_mode(target, chosen.mode), order["namespace"]))
    del arguments
    try:
        chosen.run(_serve(chosen.bridge(adapter), Job(**order["job"]), _go))
    finally:
        chosen.close()


if __name__ == "__main__":
    main(sys.argv)
