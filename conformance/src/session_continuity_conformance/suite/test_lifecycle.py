"""LIF and CFG: adapters open, serve, report and close."""

from __future__ import annotations

import threading
from dataclasses import fields
from functools import partial
from itertools import count
from typing import Any

from session_continuity import (
    Capabilities,
    MessageQuery,
    Patch,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    StorageError,
    ThrottledError,
    UnavailableError,
    innermost,
    portable,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, results, same, same_models
from session_continuity_conformance.concurrency.loops import at_once, one_after_the_other
from session_continuity_conformance.drivers import pending_tasks
from session_continuity_conformance.samples import full_session
from session_continuity_conformance.store_fixture import FAR, NotApplicableError, StoreFixture

CLOSED_AMONG = 4
"""Adapters that are closed while others call them."""

WRITERS = 3
LOOPS = 3


@clause("SC-CFG-001")
async def test_mode_is_the_one_asked_for(store: StoreFixture) -> None:
    same("mode", store.raw.mode, store.mode)
    await store.create_session()
    same("mode after use", store.raw.mode, store.mode)


@clause("SC-CFG-002")
async def test_capabilities_are_data(store: StoreFixture) -> None:
    await store.open()
    first, second = (adapter.capabilities for adapter in store.adapters)
    same("class of capabilities", type(first), Capabilities)
    same("capabilities of another adapter", second, first)


@clause("SC-CFG-003")
async def test_clock_is_aware_and_utc(store: StoreFixture) -> None:
    own = store.target.open(store.mode, store.namespace)
    moment = own.clock()
    await store.driver.bridge(own).close()
    same("utcoffset of clock()", str(moment.utcoffset()), "0:00:00")


@clause("SC-CFG-004")
async def test_backend_is_named_in_storage_errors(store: StoreFixture) -> None:
    holds("backend", bool(store.raw.backend), expected="the URL scheme", observed=store.raw.backend)
    await store.adapter.close()
    error = await refused("get_session after close", store.adapter.get_session("x"), StorageError)
    same("backend and operation in the error", (error.backend, error.operation), (store.raw.backend, "get_session"))


@clause("SC-CFG-007")
async def test_adapter_and_plugin_state_the_same_contract(store: StoreFixture) -> None:
    same("contract of the adapter", innermost(store.raw).contract, store.target.contract)


@clause("SC-CFG-008")
async def test_declared_operations_are_written(store: StoreFixture) -> None:
    adapter = innermost(store.raw)
    declared, written = adapter.capabilities, portable(adapter).capabilities
    names = [field.name for field in fields(Capabilities)]
    missing = [name for name in names if getattr(declared, name) != getattr(written, name)]
    same("capabilities that are declared and not written", missing, [])


@clause("SC-LIF-001")
async def test_methods_of_a_closed_store_are_refused(store: StoreFixture) -> None:
    session = await store.create_session()
    (message,) = await store.append(session.id, "x")
    adapter = store.adapter
    await adapter.close()
    calls: dict[str, Any] = {
        "setup": lambda: adapter.setup(),
        "health": lambda: adapter.health(),
        "create_session": lambda: adapter.create_session(session),
        "get_session": lambda: adapter.get_session(session.id),
        "update_session": lambda: adapter.update_session(session.id, Patch({"status": "paused"})),
        "delete_session": lambda: adapter.delete_session(session.id),
        "list_sessions": lambda: adapter.list_sessions(SessionFilter(user_id="u"), limit=1),
        "append_messages": lambda: adapter.append_messages(session.id, [message]),
        "get_message": lambda: adapter.get_message(session.id, message.id),
        "get_messages": lambda: adapter.get_messages(session.id, MessageQuery()),
        "get_conversation": lambda: adapter.get_conversation(session.id, MessageQuery()),
        "update_message": lambda: adapter.update_message(session.id, message.id, Patch({"content": "y"})),
        "delete_message": lambda: adapter.delete_message(session.id, message.id),
        "delete_all_messages": lambda: adapter.delete_all_messages(session.id),
        "get_expired_sessions": lambda: adapter.get_expired_sessions(FAR, limit=1),
    }
    for name, call in calls.items():
        error = await refused(f"{name} after close", call(), StorageClosedError)
        same(f"operation in the error of {name}", error.operation, name)


@clause("SC-LIF-002")
async def test_close_may_be_called_again(store: StoreFixture) -> None:
    await store.create_session()
    await store.adapter.close()
    await store.adapter.close()
    unused = await store.open(setup=False)
    await unused.close()
    await unused.close()


@clause("SC-LIF-003")
async def test_other_adapter_goes_on_after_a_close(store: StoreFixture) -> None:
    other = await store.open_second()
    session = await store.create_session()
    await other.close()
    await store.append(session.id, "x")
    same("conversation", await store.texts(session.id), ["x"])


@clause("SC-LIF-004")
async def test_setup_again_changes_nothing(store: StoreFixture) -> None:
    session = await store.adapter.create_session(full_session(store))
    await store.append(session.id, "x")
    before = await store.current(session.id)
    await store.adapter.setup()
    results("concurrent setups", await store.driver.gather(*[lambda: store.adapter.setup()] * 4))
    await store.open()
    same("the session afterwards", await store.current(session.id), before)
    same("its conversation afterwards", await store.texts(session.id), ["x"])


@clause("SC-LIF-005")
async def test_store_that_serves_is_healthy(store: StoreFixture) -> None:
    same("get_session of a store that serves", await store.adapter.get_session("nobody"), None)
    idle = await store.adapter.health()
    holds("status of a store that serves", idle.status != "unhealthy", expected="healthy", observed=idle)
    holds("remedy of a degraded store", idle.status == "healthy" or bool(idle.remedy), expected="one", observed=idle)
    session = await store.create_session()

    async def write() -> None:
        await store.append(session.id, *"abcdef")

    async def look() -> None:
        for _ in range(4):
            same("status beside writes", (await store.adapter.health()).status, idle.status)

    results("health beside writes", await store.driver.gather(write, look))


@clause("SC-LIF-006")
async def test_nothing_suspends_in_blocking_mode(store: StoreFixture) -> None:
    if store.driver.mode != "blocking" or store.mode != "blocking":
        raise NotApplicableError("only a store with a blocking mode of its own can suspend there")
    session = await store.create_session(user_id="u")
    await store.append(session.id, "a", "b")
    await store.adapter.update_session(session.id, Patch({"status": "paused"}))
    await store.adapter.list_sessions(SessionFilter(user_id="u"), limit=1)
    await store.history(session.id)
    await store.adapter.delete_all_messages(session.id)
    await store.expired_ids()
    await store.adapter.health()
    await store.adapter.delete_session(session.id)
    await store.adapter.close()


@clause("SC-LIF-007")
async def test_close_leaves_no_thread_and_no_task(store: StoreFixture) -> None:
    await store.create_session()
    before = set(threading.enumerate())
    tasks = pending_tasks()
    opened = [await store.open() for _ in range(3)]
    for adapter in opened:
        await adapter.create_session(store.new_session())
        await adapter.health()
        await adapter.close()
    same("threads left behind", [t.name for t in threading.enumerate() if t not in before and not t.daemon], [])
    same("tasks left behind", sorted(pending_tasks() - tasks), [])


@clause("SC-LIF-008")
async def test_acknowledged_writes_survive_a_reopen(store: StoreFixture) -> None:
    session = await store.adapter.create_session(full_session(store))
    await store.adapter.update_session(session.id, Patch({"status": "active"}))
    stored = await store.append(session.id, "a", "b", tokens=3)
    before = await store.current(session.id)
    await store.adapter.close()
    again = await store.open()
    same("the session after close and open", await again.get_session(session.id), before)
    page = await again.get_messages(session.id, MessageQuery())
    same_models("its messages after close and open", page, stored)


@clause("SC-LIF-009")
async def test_close_during_calls_leaves_typed_errors_and_true_outcomes(store: StoreFixture) -> None:
    for number in range(CLOSED_AMONG):
        closing = await store.open_second()
        sessions = [await store.create_session() for _ in range(WRITERS)]
        works = [partial(write_until_refused, store, closing, session.id) for session in sessions]
        later = partial(close_later, store, closing, number)
        *written, _ = results(f"calls during close {number}", await store.driver.gather(*works, later))
        for session, acknowledged, unknown in zip(sessions, *zip(*written, strict=True), strict=True):
            texts = await store.texts(session.id)
            left = [text for text in texts if text not in unknown]
            same("stored messages of which no call said that the outcome is unknown", left, acknowledged)
            same("message_count", (await store.current(session.id)).message_count, len(texts))


async def write_until_refused(store: StoreFixture, on: StorageAdapter, session_id: str) -> tuple[list[str], list[str]]:
    """Append until the adapter is closed. Returns the texts of the appends that were acknowledged, and of those whose
    outcome is unknown."""
    acknowledged: list[str] = []
    unknown: list[str] = []
    for number in count():
        text = str(number)
        try:
            await on.append_messages(session_id, [store.message(session_id, text)])
        except StorageClosedError:
            break
        except (UnavailableError, ThrottledError):
            unknown.append(text)
        else:
            acknowledged.append(text)
        await store.driver.sleep(0.001)
    return acknowledged, unknown


async def close_later(store: StoreFixture, adapter: StorageAdapter, number: int) -> tuple[list[str], list[str]]:
    """Close an adapter after some milliseconds, so that the calls of others are under way."""
    await store.driver.sleep(0.002 * number)
    await adapter.close()
    return [], []


@clause("SC-LIF-010")
async def test_adapter_serves_several_event_loops(store: StoreFixture) -> None:
    if store.driver.name != "async":
        raise NotApplicableError("an adapter in blocking mode does not run in an event loop")
    adapter = await store.open_second_or_first()
    session = await store.create_session()

    async def append(text: str) -> None:
        for _ in range(LOOPS):
            await adapter.append_messages(session.id, [store.message(session.id, text)])

    names = [f"loop {number}" for number in range(LOOPS)]
    await one_after_the_other(*(partial(append, f"{name}, alone") for name in names))
    await at_once(*(partial(append, f"{name}, together") for name in names))
    await append("home")
    sent = sorted([f"{name}, {how}" for name in names for how in ("alone", "together")] * LOOPS)
    found = await store.texts(session.id)
    same("the conversation of several event loops", sorted(map(str, found[:-LOOPS])), sent)
    same("its end", found[-LOOPS:], ["home"] * LOOPS)
