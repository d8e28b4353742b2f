"""FLT: writes that end between two of their steps: the client is killed, or the call is cancelled. Then they are
repeated, as an application does when it starts again."""

from __future__ import annotations

import sys
from functools import partial

from session_continuity import StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import ViolationError
from session_continuity_conformance.concurrency.orders import History, check_one_order
from session_continuity_conformance.faults.cancellation import MOST_WAITS, Moment, in_time, interrupt, require_tasks
from session_continuity_conformance.faults.indexes import check_indexes
from session_continuity_conformance.faults.interruption import interrupt as interrupt_at, interrupting
from session_continuity_conformance.faults.meetings import Maker, Meeting, writes_in_steps_of
from session_continuity_conformance.faults.proxied import MOST_REQUESTS, behind_proxy
from session_continuity_conformance.store_fixture import NotApplicableError, StoreFixture

POINTS = 10
"""Interrupted attempts at each kind of write, about."""


@clause("SC-FLT-017")
async def test_write_of_a_killed_client_is_completed_by_another(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        for make in writes_in_steps_of(store):
            for number in range(MOST_REQUESTS):
                meeting = make(store)
                history = await prepared(store, meeting)
                await proxied.check_serves("a read before the fault")
                # The server never hears of this client again, as after SIGKILL.
                proxied.proxy.plan("lose the reply", after=number, away=True, patience=proxied.patience)
                await history.begin("killed", meeting.write).on(proxied.adapter)
                met = proxied.proxy.unplan()
                proxied.proxy.accept()
                if not met:
                    break
                what = f"{meeting.name.partition(' while')[0]}, cut off behind its request {number + 1}, and repeated"
                await check_repeated(store, store.adapter, meeting, history, what)


@clause("SC-FLT-017")
async def test_write_that_is_cancelled_between_its_steps_is_completed_by_repeating_it(store: StoreFixture) -> None:
    require_tasks(store)
    other = await store.open_second_or_first()
    reached = False
    for make in writes_in_steps_of(store):
        for wait in range(1, MOST_WAITS):
            meeting = make(store)
            history = await prepared(store, meeting)
            write = history.begin("cancelled", meeting.write)
            outcome = await interrupt(write.on(store.adapter), Moment(wait, late=False))
            if not outcome.reached:
                break
            reached = True
            what = f"{meeting.name.partition(' while')[0]}, cancelled at wait {wait}, and repeated"
            await in_time(check_repeated(store, other, meeting, history, what), what)
        else:
            raise ViolationError("waits of one call", expected=f"fewer than {MOST_WAITS}", observed="more")
    if not reached:
        raise NotApplicableError("no call of this store ever waits, so that none can be cancelled")


@clause("SC-FLT-017")
async def test_write_that_is_interrupted_between_its_steps_is_completed_by_repeating_it(store: StoreFixture) -> None:
    if store.target.endpoint() is not None:
        raise NotApplicableError("the steps of this store are requests, which a proxy cuts off")
    with interrupting(store):
        other = await store.open_second_or_first()
        for make in writes_in_steps_of(store):
            points, point = await points_of(store, make), 1
            while point < points:
                meeting = make(store)
                history = await prepared(store, meeting)
                send = partial(history.begin("interrupted", meeting.write).on, store.raw_bridged)
                await interrupt_at(send, point, KeyboardInterrupt())
                what = f"{meeting.name.partition(' while')[0]}, interrupted at point {point} of {points}, and repeated"
                await check_repeated(store, other, meeting, history, what)
                point += max(1, points // POINTS)


async def points_of(store: StoreFixture, make: Maker) -> int:
    """The number of points of a write at which it can be interrupted."""
    meeting = make(store)
    await prepared(store, meeting)
    return (await interrupt_at(partial(meeting.write.on, store.raw_bridged), sys.maxsize, KeyboardInterrupt())).points


async def prepared(store: StoreFixture, meeting: Meeting) -> History:
    """The history of a meeting up to its write."""
    history = History()
    for step in meeting.before:
        await history.make("before", store.adapter, step)
    return history


async def check_repeated(
    store: StoreFixture, adapter: StorageAdapter, meeting: Meeting, history: History, what: str
) -> None:
    """Repeat the write of a meeting on this adapter, and check everything that it is about."""
    await history.make("repeated", adapter, meeting.write)
    for step in meeting.looks():
        await history.make("reader", adapter, step)
    check_one_order(what, history.calls)
    for session_id in meeting.sessions:
        await check_indexes(store, adapter, session_id, what)
