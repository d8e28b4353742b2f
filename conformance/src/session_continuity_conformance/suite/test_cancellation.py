"""FLT: calls whose task is cancelled at each of their waits."""

from __future__ import annotations

from session_continuity import MessageQuery, SessionFilter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, same
from session_continuity_conformance.faults.cancellation import (
    Outcome,
    Read,
    cancel_many,
    cancelled_reads,
    cancelled_writes,
    check_tasks_end,
    in_time,
    require_tasks,
    tasks,
)
from session_continuity_conformance.store_fixture import FAR, StoreFixture

MANY = 120
"""Cancelled calls: more than a client's pool of connections holds."""


@clause("SC-FLT-001")
async def test_cancelled_write_is_whole_or_absent(store: StoreFixture) -> None:
    require_tasks(store)
    other = await store.open_second_or_first()
    async for write, moment, _ in cancelled_writes(store):
        for adapter in (store.adapter, other):
            what = f"{write.name} {moment}"
            await in_time(write.check_whole_or_absent(store, adapter, what), f"a read after {what}")


@clause("SC-FLT-002")
async def test_cancelled_write_is_done_once_by_repeating_it(store: StoreFixture) -> None:
    require_tasks(store)
    other = await store.open_second_or_first()
    async for write, moment, _ in cancelled_writes(store):
        if write.repeatable:
            what = f"{write.name} {moment}, and repeated"
            await in_time(write.repeat(store.adapter), what)
            await write.check_done(store, other, what)


@clause("SC-FLT-003")
async def test_cancelled_write_ends_cancelled(store: StoreFixture) -> None:
    require_tasks(store)
    async for write, moment, outcome in cancelled_writes(store):
        ends_cancelled(f"{write.name} {moment}", outcome)


@clause("SC-FLT-003")
async def test_cancelled_read_ends_cancelled(store: StoreFixture) -> None:
    require_tasks(store)
    async for what, outcome in cancelled_reads(store, await reads(store, "text")):
        ends_cancelled(what, outcome)


def ends_cancelled(what: str, outcome: Outcome) -> None:
    """Check that a cancelled call raised the cancellation."""
    observed = "an answer" if outcome.error is None else outcome.error
    holds(what, outcome.cancelled, expected="CancelledError", observed=observed)


async def reads(store: StoreFixture, text: str) -> dict[str, Read]:
    """Every method that only reads, on a new session."""
    session = await store.create_session(user_id=text)
    (message,) = await store.append(session.id, text)
    return {
        "get_session": lambda on: on.get_session(session.id),
        "get_message": lambda on: on.get_message(session.id, message.id),
        "get_messages": lambda on: on.get_messages(session.id, MessageQuery()),
        "get_conversation": lambda on: on.get_conversation(session.id, MessageQuery(limit=1)),
        "list_sessions": lambda on: on.list_sessions(SessionFilter(user_id=text), limit=10),
        "get_expired_sessions": lambda on: on.get_expired_sessions(FAR, limit=10),
        "health": lambda on: on.health(),
    }


@clause("SC-FLT-004")
async def test_many_cancelled_calls_use_nothing_up(store: StoreFixture) -> None:
    require_tasks(store)
    session = await store.create_session()
    before = tasks()
    adapter = await store.open_second_or_first()
    await cancel_many(adapter, lambda on: on.get_session(session.id), MANY)
    found = await in_time(adapter.get_session(session.id), f"get_session after {MANY} cancelled ones")
    same("the session afterwards", found, session)
    await check_tasks_end(adapter, before)


@clause("SC-FLT-005")
async def test_call_after_a_cancelled_one_gets_its_own_answer(store: StoreFixture) -> None:
    require_tasks(store)
    ours = await reads(store, "ours")
    theirs = await reads(store, "theirs")
    del ours["list_sessions"], ours["health"]
    right = {name: await read(store.adapter) for name, read in ours.items()}
    async for what, _ in cancelled_reads(store, theirs):
        for name, expected in right.items():
            after = f"{name} after another session's {what}"
            same(after, await in_time(ours[name](store.adapter), after), expected)
