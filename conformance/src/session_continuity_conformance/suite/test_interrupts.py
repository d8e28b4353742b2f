"""FLT: blocking calls that a signal handler interrupts by raising, at points spread over each call."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any

from session_continuity import MessageQuery, StorageError
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, results, same
from session_continuity_conformance.faults.interruption import (
    HandlerError,
    interrupt,
    interrupted_writes,
    interrupting,
)
from session_continuity_conformance.store_fixture import StoreFixture

POINTS = 12
"""Interrupted attempts at each kind of write, about."""

MANY = 70
"""Interrupted reads, and as many appends: more than a client's pool of connections holds."""


@clause("SC-FLT-013")
async def test_interrupted_write_is_whole_or_absent(store: StoreFixture) -> None:
    with interrupting(store):
        other = await store.open_second_or_first()
        async for write, what, error in interrupted_writes(store, store.raw_bridged, KeyboardInterrupt, POINTS):
            holds(what, isinstance(error, KeyboardInterrupt), expected="KeyboardInterrupt", observed=error)
            await write.check_whole_or_absent(store, other, what)
            if write.repeatable:
                await write.repeat(other)
                await write.check_done(store, other, f"{what}, and repeated")


@clause("SC-FLT-014")
async def test_many_interrupted_calls_use_nothing_up(store: StoreFixture) -> None:
    with interrupting(store):
        session = await store.create_session()

        def read() -> Coroutine[Any, Any, object]:
            return store.raw_bridged.get_messages(session.id, MessageQuery(limit=1))

        def append() -> Coroutine[Any, Any, object]:
            message = store.message(session.id, id=store.new_id("m"))
            return store.raw_bridged.append_messages(session.id, [message], client_ids=[message.id])

        for call in (read, append):
            points = (await interrupt(call, sys.maxsize, KeyboardInterrupt())).points
            for number in range(MANY):
                await interrupt(call, 1 + number * points // MANY, KeyboardInterrupt())
        works = [lambda: store.append(session.id, "after")] * 3
        results(f"appends by three threads after {2 * MANY} interrupted calls", await store.driver.gather(*works))
        same("the last messages", (await store.texts(session.id))[-3:], ["after"] * 3)


@clause("SC-FLT-015")
async def test_exception_of_a_handler_is_not_an_error_of_the_store(store: StoreFixture) -> None:
    with interrupting(store):
        other = await store.open_second_or_first()
        async for write, what, error in interrupted_writes(store, store.raw_bridged, HandlerError, POINTS):
            is_retryable = isinstance(error, StorageError) and error.retryable
            holds(
                what,
                error is None or isinstance(error, HandlerError) or is_retryable,
                expected="HandlerError, success, or a retryable StorageError",
                observed=error,
            )
            await write.check_whole_or_absent(store, other, what)
