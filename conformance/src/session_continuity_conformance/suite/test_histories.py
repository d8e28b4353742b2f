"""Concurrent work, also of processes: one order of all calls explains every answer."""

from __future__ import annotations

from contextlib import closing

from session_continuity import StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import holds, results, same
from session_continuity_conformance.concurrency.histories import Event, check_conversation, check_register
from session_continuity_conformance.concurrency.processes import Process, in_processes
from session_continuity_conformance.concurrency.workers import Job, conversation, history
from session_continuity_conformance.store_fixture import StoreFixture

ROUNDS = 8
PROCESS_ROUNDS = 25
KILL_DELAYS = (0.0, 0.001, 0.003, 0.007)
"""Seconds, so that the kill meets different moments of an append."""


async def both_adapters(store: StoreFixture) -> list[StorageAdapter]:
    """An adapter for each of four workers: two adapters where the store can have them, otherwise one."""
    other = await store.open_second_or_first()
    return [store.adapter, other, store.adapter, other]


async def run(store: StoreFixture, kind: str, session_id: str) -> list[Event]:
    """The events of four workers."""
    works = [
        lambda a=adapter, w=f"w{number}": history(a, Job(kind=kind, session_id=session_id, worker=w, rounds=ROUNDS))
        for number, adapter in enumerate(await both_adapters(store))
    ]
    outcomes: list[list[Event]] = results(f"concurrent {kind} work", await store.driver.gather(*works))
    return [event for events in outcomes for event in events]


@clause("SC-OCC-009")
async def test_concurrent_updates_are_one_register(store: StoreFixture) -> None:
    session = await store.create_session(user_id="first")
    events = await run(store, "register", session.id)
    check_register(events, 1, "first", (await store.current(session.id)).version)


@clause("SC-ORD-009")
async def test_concurrent_reads_are_prefixes(store: StoreFixture) -> None:
    session = await store.create_session()
    events = await run(store, "conversation", session.id)
    check_conversation(events, await conversation(store.adapter, session.id))
    await totals_are_exact(store, session.id)


async def totals_are_exact(store: StoreFixture, session_id: str) -> None:
    """Check that the session counts the messages that it has."""
    found, texts = await store.current(session_id), await conversation(store.adapter, session_id)
    same("message_count and token_count", (found.message_count, found.token_count), (len(texts), 2 * len(texts)))


@clause("SC-OCC-010")
async def test_updates_of_two_processes_are_one_register(store: StoreFixture) -> None:
    session = await store.create_session(user_id="first")
    jobs = [Job(kind="register", session_id=session.id, worker=w, rounds=PROCESS_ROUNDS) for w in ("p0", "p1")]
    events = in_processes(store, jobs)
    check_register(events, 1, "first", (await store.current(session.id)).version)


@clause("SC-ORD-010")
async def test_reads_of_two_processes_are_prefixes(store: StoreFixture) -> None:
    session = await store.create_session()
    jobs = [Job(kind="conversation", session_id=session.id, worker=w, rounds=PROCESS_ROUNDS) for w in ("p0", "p1")]
    events = in_processes(store, jobs)
    check_conversation(events, await conversation(store.adapter, session.id))
    await totals_are_exact(store, session.id)


@clause("SC-APP-022")
async def test_killed_process_leaves_whole_appends(store: StoreFixture) -> None:
    for delay in KILL_DELAYS:
        session = await store.create_session()
        with closing(
            Process(store, Job(kind="conversation", session_id=session.id, worker="p", rounds=10_000))
        ) as process:
            process.wait_until_ready()
            process.go()
            events = process.events(at_most=12)
            same("events of the other process before it is killed", len(events), 12)
            await store.driver.sleep(delay)
            events += process.kill()
        acknowledged = [event.texts[0] for event in events if event.kind == "append"]
        await store.append(session.id, "after", tokens=2)
        texts = await conversation(store.adapter, session.id)
        same("acknowledged messages, in order", texts[: len(acknowledged)], acknowledged)
        rest = texts[len(acknowledged) :]
        holds(
            "messages after those", len(rest) <= 2, expected="at most one that was under way, and ours", observed=rest
        )
        same("the message appended after the kill", rest[-1:], ["after"])
        await totals_are_exact(store, session.id)
