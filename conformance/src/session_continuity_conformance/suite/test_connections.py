"""FLT: connections that break, servers that do not answer, replies that are lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from session_continuity import (
    MessageQuery,
    Patch,
    SessionFilter,
    StorageError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, same
from session_continuity_conformance.faults.proxied import ProxiedStore, behind_proxy
from session_continuity_conformance.faults.proxy import Fault
from session_continuity_conformance.faults.writes import Write
from session_continuity_conformance.store_fixture import FAR, StoreFixture

SOME = ("append_messages", "update_session")
"""Writes for faults that take their time: one that is known again by its ids, and one that has none."""


@clause("SC-FLT-006")
async def test_write_whose_reply_is_lost_is_done_once(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        async for write, what, error in proxied.write_through_faults("lose the reply"):
            await check_done_once(store, proxied, write, what, error)


@clause("SC-FLT-006")
async def test_write_whose_server_goes_away_is_done_once_by_its_caller(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        async for write, what, error in proxied.write_through_faults("lose the reply", away=True):
            await check_done_once(store, proxied, write, what, error)


@clause("SC-FLT-006")
async def test_write_whose_server_hangs_up_is_done_once(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        async for write, what, error in proxied.write_through_faults("hang up", SOME):
            await check_done_once(store, proxied, write, what, error)


@clause("SC-FLT-007")
async def test_write_that_is_cut_off_is_whole_or_absent(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        async for write, what, error in proxied.write_through_faults("cut off", away=True):
            await check_done_once(store, proxied, write, what, error)


async def check_done_once(
    store: StoreFixture, proxied: ProxiedStore, write: Write, what: str, error: StorageError | None
) -> None:
    """Check that a write is there. After an error it may be there or not, and is there once when it is repeated."""
    if error is None:
        await write.check_done(store, store.adapter, what)
        return
    await write.check_whole_or_absent(store, store.adapter, what)
    if write.repeatable:
        await proxied.retry_until_answered(lambda: write.repeat(proxied.adapter), f"{what}, repeated")
        await write.check_done(store, store.adapter, f"{what}, repeated")


@clause("SC-FLT-008")
async def test_call_that_is_not_answered_ends(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        calls = await every_call(store, proxied)
        for name in ("get_session", "get_messages"):
            await proxied.check_serves(f"a read before {name}")
            await proxied.call_through_fault("stall", calls[name], f"{name}, which the server does not answer")
        async for write, what, error in proxied.write_through_faults("stall", SOME):
            await check_done_once(store, proxied, write, what, error)


async def every_call(
    store: StoreFixture, proxied: ProxiedStore
) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """One call of every method that needs the server, on a new session. Those that remove come last."""
    session = await store.create_session(user_id="user")
    (message,) = await store.append(session.id, "text")
    on = proxied.adapter
    return {
        "create_session": lambda: on.create_session(store.new_session()),
        "get_session": lambda: on.get_session(session.id),
        "update_session": lambda: on.update_session(session.id, Patch({"user_id": "other"})),
        "list_sessions": lambda: on.list_sessions(SessionFilter(user_id="user"), limit=1),
        "append_messages": lambda: on.append_messages(session.id, [store.message(session.id)]),
        "get_message": lambda: on.get_message(session.id, message.id),
        "get_messages": lambda: on.get_messages(session.id, MessageQuery()),
        "get_conversation": lambda: on.get_conversation(session.id, MessageQuery()),
        "update_message": lambda: on.update_message(session.id, message.id, Patch({"content": "other"})),
        "delete_message": lambda: on.delete_message(session.id, message.id),
        "delete_all_messages": lambda: on.delete_all_messages(session.id),
        "get_expired_sessions": lambda: on.get_expired_sessions(FAR, limit=1),
        "delete_session": lambda: on.delete_session(session.id),
    }


@clause("SC-FLT-009")
async def test_calls_of_a_store_that_is_away_are_unavailable(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        calls = await every_call(store, proxied)
        proxied.proxy.refuse()
        for name, call in calls.items():
            error = await refused(f"{name} of a store that cannot be reached", call(), StorageError)
            same(f"retryable in the error of {name}", error.retryable, True)
            same(f"backend in the error of {name}", error.backend, store.raw.backend)
            # one that is made of others may name the first of them
            may_name = ("get_conversation", "get_session") if name == "get_conversation" else (name,)
            holds(
                f"operation in the error of {name}",
                error.operation in may_name,
                expected=" or ".join(may_name),
                observed=error.operation,
            )
            holds(f"cause of the error of {name}", error.__cause__ is not None, expected="the raw one", observed=error)
        proxied.proxy.accept()


@clause("SC-FLT-010")
async def test_adapter_serves_on_after_faults(store: StoreFixture) -> None:
    faults: tuple[Fault, ...] = ("cut off", "lose the reply", "hang up", "stall")
    async with behind_proxy(store) as proxied:
        session = await store.create_session()
        read = partial(proxied.adapter.get_session, session.id)
        for fault in faults:
            await proxied.call_through_fault(fault, read, f"get_session that met {fault!r}")
            found = await proxied.retry_until_answered(read, f"get_session after {fault!r}")
            same(f"the session after {fault!r}", found, session)
        proxied.proxy.cut()
        await proxied.check_serves("get_session after idle connections were reset")
        proxied.proxy.refuse()
        await refused("get_session of a store that cannot be reached", proxied.adapter.get_session("x"), StorageError)
        proxied.proxy.accept()
        await proxied.check_serves("get_session after the store could not be reached")


@clause("SC-FLT-011")
async def test_health_of_a_store_that_is_away_is_unhealthy(store: StoreFixture) -> None:
    async with behind_proxy(store) as proxied:
        proxied.proxy.refuse()
        found = await proxied.adapter.health()
        holds(
            "status of a store that cannot be reached",
            found.status == "unhealthy",
            expected="unhealthy",
            observed=found,
        )
        holds("remedy of a store that cannot be reached", bool(found.remedy), expected="one", observed=found)
        proxied.proxy.accept()
        await proxied.check_serves("get_session after the store could not be reached")
        same("status once it can be reached", (await proxied.adapter.health()).status != "unhealthy", True)
