"""FLT: writes whose answer is lost, while another client acts before they are sent again."""

from __future__ import annotations

import threading
from functools import partial

from session_continuity import StorageAdapter, run_now
from session_continuity_conformance.cases import clause
from session_continuity_conformance.concurrency.orders import History, check_one_order
from session_continuity_conformance.faults.meetings import Maker, Meeting, meetings_of
from session_continuity_conformance.faults.proxied import MOST_REQUESTS, ProxiedStore, behind_proxy
from session_continuity_conformance.faults.someone_else import someone_else
from session_continuity_conformance.store_fixture import StoreFixture


@clause("SC-FLT-016")
async def test_write_that_is_sent_again_leaves_what_others_wrote(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        with someone_else(store) as other:
            for make in meetings_of(store):
                for number in range(MOST_REQUESTS):
                    if not await meet(proxied, other, make, number):
                        break


async def meet(proxied: ProxiedStore, other: StorageAdapter, make: Maker, number: int) -> bool:
    """Make a write, and lose the reply to one of its requests while another client acts. Returns whether the write has
    such a request."""
    store = proxied.store
    meeting, history = make(store), History()
    for step in meeting.before:
        await history.make("before", store.adapter, step)
    await proxied.check_serves("a read before the fault")
    acted = threading.Event()

    def act() -> None:
        try:
            run_now(act_meanwhile(meeting, history, other))
        finally:
            acted.set()

    proxied.proxy.plan("lose the reply", after=number, patience=proxied.patience, meanwhile=act)
    await history.make("writer", proxied.adapter, meeting.write, resent=True)
    if not proxied.proxy.unplan():
        return False
    while not acted.is_set():
        await store.driver.sleep(0.005)
    await look(meeting, history, store.adapter)
    check_one_order(f"{meeting.name}, after the reply to its request {number + 1} was lost", history.calls)
    return True


async def act_meanwhile(meeting: Meeting, history: History, other: StorageAdapter) -> None:
    """What another client sees and does meanwhile."""
    await look(meeting, history, other)
    for step in meeting.meanwhile:
        await history.make("another", other, step)


async def look(meeting: Meeting, history: History, adapter: StorageAdapter) -> None:
    """Read everything that a meeting is about."""
    for step in meeting.looks():
        await history.make("reader", adapter, step)


@clause("SC-FLT-016")
async def test_write_that_its_caller_repeats_leaves_what_others_wrote(store: StoreFixture) -> None:
    other = await store.open_second_or_first()
    for make in meetings_of(store):
        meeting, history = make(store), History()
        write = partial(history.make, "writer", store.adapter, meeting.write)
        for step in meeting.before:
            await history.make("before", store.adapter, step)
        await write()
        await act_meanwhile(meeting, history, other)
        await write()
        await look(meeting, history, other)
        check_one_order(f"{meeting.name}, and its caller repeats it", history.calls)
