"""FLT, the wire: connections that break, servers that fall silent, replies that are lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from session_continuity import (
    MessageQuery,
    Patch,
    SessionFilter,
    StorageError,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, refused, same
from session_continuity_conformance.faults.proxy import Fault
from session_continuity_conformance.faults.wires import Wired, wired
from session_continuity_conformance.faults.writes import Write
from session_continuity_conformance.store import FAR, Store

SOME = ("append_messages", "update_session")
"""Writes for faults that take their time: one that is known again by its ids, and one that has none."""


@clause("SC-FLT-006")
async def test_write_whose_reply_is_lost_is_done_once(store: Store) -> None:
    async with wired(store) as wire:
        async for write, what, error in wire.struck_writes("lose the reply"):
            await is_done_once(store, wire, write, what, error)


@clause("SC-FLT-006")
async def test_write_whose_server_goes_away_is_done_once_by_its_caller(store: Store) -> None:
    async with wired(store) as wire:
        async for write, what, error in wire.struck_writes("lose the reply", away=True):
            await is_done_once(store, wire, write, what, error)


@clause("SC-FLT-006")
async def test_write_whose_server_hangs_up_is_done_once(store: Store) -> None:
    async with wired(store) as wire:
        async for write, what, error in wire.struck_writes("hang up", SOME):
            await is_done_once(store, wire, write, what, error)


@clause("SC-FLT-007")
async def test_write_that_is_cut_off_is_whole_or_absent(store: Store) -> None:
    async with wired(store) as wire:
        async for write, what, error in wire.struck_writes("cut off", away=True):
            await is_done_once(store, wire, write, what, error)


async def is_done_once(store: Store, wire: Wired, write: Write, what: str, error: StorageError | None) -> None:
    """Done, when the adapter says so; whole or not at all, when it does not know, and then once by repeating it."""
    if error is None:
        await write.is_done(store, store.adapter, what)
        return
    await write.is_whole_or_absent(store, store.adapter, what)
    if write.repeatable:
        await wire.insist(lambda: write.repeat(wire.adapter), f"{what}, repeated")
        await write.is_done(store, store.adapter, f"{what}, repeated")


@clause("SC-FLT-008")
async def test_call_that_is_not_answered_ends(store: Store) -> None:
    async with wired(store) as wire:
        asked = await calls(store, wire)
        for name in ("get_session", "get_messages"):
            await wire.serves_again(f"a read before {name}")
            await wire.struck("stall", asked[name], f"{name}, which the server does not answer")
        async for write, what, error in wire.struck_writes("stall", SOME):
            await is_done_once(store, wire, write, what, error)


async def calls(store: Store, wire: Wired) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """One call of every method that needs the server, on a session of its own; those that remove come last."""
    session = await store.session(user_id="user")
    (message,) = await store.append(session.id, "text")
    on = wire.adapter
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
async def test_calls_of_a_store_that_is_away_are_unavailable(store: Store) -> None:
    async with wired(store) as wire:
        asked = await calls(store, wire)
        wire.proxy.refuse()
        for name, call in asked.items():
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
        wire.proxy.accept()


@clause("SC-FLT-010")
async def test_adapter_serves_on_after_faults(store: Store) -> None:
    faults: tuple[Fault, ...] = ("cut off", "lose the reply", "hang up", "stall")
    async with wired(store) as wire:
        session = await store.session()
        for fault in faults:
            await wire.struck(fault, lambda: wire.adapter.get_session(session.id), f"get_session that met {fault!r}")
            found = await wire.insist(lambda: wire.adapter.get_session(session.id), f"get_session after {fault!r}")
            same(f"the session after {fault!r}", found, session)
        wire.proxy.cut()
        await wire.serves_again("get_session after idle connections were reset")
        wire.proxy.refuse()
        await refused("get_session of a store that cannot be reached", wire.adapter.get_session("x"), StorageError)
        wire.proxy.accept()
        await wire.serves_again("get_session after the store could not be reached")


@clause("SC-FLT-011")
async def test_health_of_a_store_that_is_away_is_unhealthy(store: Store) -> None:
    async with wired(store) as wire:
        wire.proxy.refuse()
        told = await wire.adapter.health()
        holds(
            "status of a store that cannot be reached", told.status == "unhealthy", expected="unhealthy", observed=told
        )
        holds("remedy of a store that cannot be reached", bool(told.remedy), expected="one", observed=told)
        wire.proxy.accept()
        await wire.serves_again("get_session after the store could not be reached")
        same("status once it can be reached", (await wire.adapter.health()).status != "unhealthy", True)
