"""What only async code can do to a manager: cancel it anywhere, and move to another loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from session_continuity import (
    AsyncSessionManager,
    CompressionError,
    ConfigError,
    ErrorOccurred,
    Event,
    NotSupportedError,
    SessionManager,
    Storage,
    StorageClosedError,
    open_storage,
    portable,
)
from session_continuity.backends.modes import ThreadedAdapter
from session_continuity_memory import MemoryStorage

from ..kit.clocks import Clock
from ..kit.conversations import REPLY, said
from ..kit.recording import RecordingAdapter
from ..kit.threads import run_in_threads


class Suspending(RecordingAdapter):
    """A store that suspends before and after every call, and is cancelled at the `at`-th of these points."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage(mode="async"))
        self.at = -1
        self.points = 0

    async def forward(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        await self._point()
        result = await super().forward(method, *args, **kwargs)
        await self._point()
        return result

    async def _point(self) -> None:
        self.points += 1
        if self.points == self.at:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await asyncio.sleep(0)


Work = Callable[[AsyncSessionManager], Awaitable[object]]

WORKS: dict[str, Work] = {
    "create_session": lambda m: m.create_session(id="new"),
    "add_message": lambda m: m.add_message("s", role="user", content="new", id="new"),
    "add_messages": lambda m: m.add_messages("s", [said("new"), said("newer")]),
    "update_message": lambda m: m.update_message("s", "m1", content="edited"),
    "delete_message": lambda m: m.delete_message("s", "m1"),
    "delete_all_messages": lambda m: m.delete_all_messages("s"),
    "get_conversation_context": lambda m: m.get_conversation_context("s"),
    "compress_context": lambda m: m.compress_context("s", "summarization"),
    "add_participant": lambda m: m.add_participant("s", "p"),
    "handoff_to_agent": lambda m: m.handoff_to_agent("s", "a"),
    "cleanup_expired_sessions": lambda m: m.cleanup_expired_sessions(),
    "delete_session": lambda m: m.delete_session("s"),
}


async def cancelled_at(point: int, work: Work) -> tuple[bool, AsyncSessionManager, Suspending]:
    """Runs the work and cancels it at this point; says whether there was such a point."""
    store = Suspending()
    clock = Clock()
    store.clock = clock
    manager = AsyncSessionManager(
        store, ttl=3600, expiry="sliding", summarizer=lambda *_, **__: "summary", token_counter=lambda _: 1
    )
    await manager.create_session(id="s", token_budget={"max_tokens": 6 + REPLY, "overflow_strategy": "compress"})
    await manager.create_session(id="old", ttl=60)
    for number in range(8):
        await manager.add_message("s", id=f"m{number}", **said(str(number)))
    clock.advance(minutes=30)
    store.points, store.at = 0, point
    task = asyncio.ensure_future(work(manager))
    try:
        await task
    except asyncio.CancelledError:
        return True, manager, store
    finally:
        store.at = -1
    return False, manager, store


async def is_whole(manager: AsyncSessionManager, store: Suspending) -> None:
    """Totals are those of the messages, a summary is of what is there, and everything can be used."""
    session = await store.inner.get_session("s")
    if session is None:
        await manager.create_session(id="s")
        session = await manager.get_session("s")
    messages = list(await manager.get_messages("s"))
    assert session.message_count == len(messages)
    assert session.token_count == sum(message.token_count or 0 for message in messages)
    if session.compression_state is not None:
        assert session.compression_state.covered_until in {message.id for message in messages}
    await manager.add_message("s", role="user", content="after", id="after")
    assert (await manager.get_conversation_context("s"))[-1].content == "after"


@pytest.mark.parametrize("name", WORKS)
def test_a_call_cancelled_anywhere_leaves_no_half_state(name: str) -> None:
    async def at(point: int) -> bool:
        was_cancelled, manager, store = await cancelled_at(point, WORKS[name])
        await is_whole(manager, store)
        return was_cancelled

    point = 1
    while asyncio.run(at(point)):
        point += 1
        assert point < 60
    assert point > 2


def test_an_append_cancelled_anywhere_is_there_once_after_its_repeat() -> None:
    async def at(point: int) -> bool:
        was_cancelled, manager, _ = await cancelled_at(point, WORKS["add_message"])
        await manager.add_message("s", role="user", content="new", id="new")
        contents = [message.content for message in await manager.get_messages("s")]
        assert contents == [*(str(number) for number in range(8)), "new"]
        return was_cancelled

    point = 1
    while asyncio.run(at(point)):
        point += 1
    assert point > 4


async def awaits_what_was_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.sleep(3600))
    other.cancel()
    await other


def test_a_handler_that_awaits_something_cancelled_does_not_cancel_the_call() -> None:
    async def main() -> None:
        errors: list[ErrorOccurred] = []
        manager = AsyncSessionManager(MemoryStorage(mode="async"))
        manager.on("error", errors.append)
        manager.on("session:created", lambda _: awaits_what_was_cancelled())
        session = await manager.create_session()
        assert await manager.get_session(session.id) == session
        assert [type(event.error) for event in errors] == [RuntimeError]

    asyncio.run(main())


def test_a_summarizer_that_awaits_something_cancelled_fails_and_does_not_cancel_the_call() -> None:
    async def summarizer(*_: object, **__: object) -> str:
        await awaits_what_was_cancelled()
        return "never"

    async def main() -> None:
        manager = AsyncSessionManager(MemoryStorage(mode="async"), summarizer=summarizer)
        session = await manager.create_session(token_budget={"max_tokens": 4 + REPLY})
        await manager.add_messages(session.id, [said("new") for _ in range(9)])
        with pytest.raises(CompressionError, match="the summarizer failed"):
            await manager.compress_context(session.id, "summarization")

    asyncio.run(main())


def test_a_call_that_is_cancelled_in_a_handler_ends_with_the_cancellation() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def handler(_: Event) -> None:
            begun.set()
            await asyncio.sleep(3600)

        manager = AsyncSessionManager(MemoryStorage(mode="async"))
        manager.on("session:created", handler)
        call = asyncio.ensure_future(manager.create_session(id="s"))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())


@pytest.mark.parametrize("native", ["async", "blocking"])
def test_a_manager_moves_from_loop_to_loop(native: Any) -> None:
    memory = MemoryStorage(mode=native)
    manager = AsyncSessionManager(memory if native == "async" else ThreadedAdapter(memory), cleanup_interval=3600)

    async def add() -> int:
        session = await manager.create_session()
        await asyncio.gather(*(manager.add_message(session.id, role="user", content="x") for _ in range(5)))
        return (await manager.get_session(session.id)).message_count

    assert [asyncio.run(add()) for _ in range(3)] == [5, 5, 5]
    asyncio.run(manager.close())
    asyncio.run(manager.close())


def test_a_manager_with_a_cleanup_is_closed_from_another_loop_than_its_own() -> None:
    manager = AsyncSessionManager(MemoryStorage(mode="async"), cleanup_interval=3600)

    async def others() -> int:
        await asyncio.sleep(0.01)
        return len(asyncio.all_tasks()) - 1

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(manager.start())
        assert first.run(others()) == 1
        second.run(manager.close())
        assert first.run(others()) == 0


def test_a_wait_for_that_times_out_leaves_the_manager_usable() -> None:
    store = Suspending()
    manager = AsyncSessionManager(store)
    never = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> None:
        await never.wait()

    async def main() -> None:
        session = await manager.create_session()
        store.before["append_messages"] = hang
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.add_message(session.id, role="user", content="x"), 0.01)
        del store.before["append_messages"]
        await manager.add_message(session.id, role="user", content="y")
        assert [m.content for m in await manager.get_messages(session.id)] == ["y"]

    asyncio.run(main())


def test_a_cleanup_under_way_is_cancelled_by_close() -> None:
    store = Suspending()
    began = asyncio.Event()
    never = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> None:
        began.set()
        await never.wait()

    async def main() -> None:
        manager = AsyncSessionManager(store, cleanup_interval=0.001)
        store.before["get_expired_sessions"] = hang
        await manager.start()
        await began.wait()
        await manager.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


# Worker threads


def blocked() -> tuple[RecordingAdapter, threading.Event, threading.Event]:
    """A blocking store whose `health` reports that it began and waits to be let go."""
    store = RecordingAdapter(MemoryStorage(mode="blocking"))
    began, go = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        assert go.wait(20)

    store.before["health"] = wait
    return store, began, go


def test_a_call_that_is_cancelled_while_it_queues_for_a_thread_never_runs_and_leaks_nothing() -> None:
    """Warnings are errors: a coroutine that was made for it and never awaited fails this test."""
    store, began, go = blocked()
    storage = ThreadedAdapter(store, threads=1)

    async def main() -> None:
        running = asyncio.ensure_future(storage.health())
        await asyncio.to_thread(began.wait, 20)
        queued = [asyncio.ensure_future(storage.get_session("s")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in queued:
            task.cancel()
        outcomes = await asyncio.gather(*queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
        go.set()
        assert (await running).status == "healthy"
        await storage.close()

    asyncio.run(main())
    gc.collect()
    assert store.calls == ["health", "close"]


def test_a_call_that_has_begun_in_a_thread_runs_to_its_end() -> None:
    store, began, go = blocked()
    storage = ThreadedAdapter(store)

    async def main() -> None:
        task = asyncio.ensure_future(storage.health())
        await asyncio.to_thread(began.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        await storage.close()

    asyncio.run(main())
    assert store.calls == ["health", "close"]


def test_a_loop_goes_on_while_a_store_in_threads_is_closed_behind_a_call() -> None:
    store, began, go = blocked()
    storage = ThreadedAdapter(portable(store))

    async def main() -> None:
        running = asyncio.ensure_future(storage.health())
        await asyncio.to_thread(began.wait, 20)
        closing = asyncio.ensure_future(storage.close())
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done
        go.set()
        await closing
        assert (await running).status == "healthy"
        with pytest.raises(StorageClosedError):
            await storage.health()

    asyncio.run(main())


def test_a_store_in_threads_shares_the_clock_and_the_features_of_the_one_below() -> None:
    below = MemoryStorage(mode="blocking")
    storage = ThreadedAdapter(below)
    clock = Clock()
    storage.clock = clock
    assert (storage.clock(), below.clock()) == (clock.now, clock.now)
    assert (storage.backend, storage.capabilities, storage.mode) == ("memory", below.capabilities, "async")


def test_a_loop_goes_on_while_a_thread_waits_for_the_store() -> None:
    store, began, go = blocked()

    async def main() -> None:
        manager = AsyncSessionManager(ThreadedAdapter(store))
        task = asyncio.ensure_future(manager.health())
        await asyncio.to_thread(began.wait, 20)
        session = await manager.create_session()
        assert (await manager.get_session(session.id)).id == session.id
        go.set()
        assert (await task).status == "healthy"

    asyncio.run(main())


# Portals


def test_calls_from_many_threads_share_one_portal() -> None:
    storage = Storage.through_portal(Suspending())
    manager = SessionManager(storage)
    session = manager.create_session()
    run_in_threads([lambda: manager.add_message(session.id, role="user", content="x")] * 10)
    assert manager.get_session(session.id).message_count == 10
    storage.close()


def test_a_portal_store_closed_during_a_call_says_that_the_outcome_is_unknown() -> None:
    store = RecordingAdapter(MemoryStorage(mode="async"))
    storage = Storage.through_portal(store)
    began = threading.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    store.before["health"] = hang
    errors: list[BaseException] = []

    def call() -> None:
        try:
            storage.health()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert began.wait(20)
    storage.close()
    thread.join(20)
    assert ["outcome is unknown" in str(error) for error in errors] == [True]


def test_the_guards_of_features_come_before_the_wire() -> None:
    store = Suspending()
    store.capabilities = replace(store.capabilities, max_batch=1, unscoped_listing=False)

    async def main() -> None:
        manager = AsyncSessionManager(store)
        session = await manager.create_session()
        before = list(store.calls)
        with pytest.raises(NotSupportedError):
            await manager.add_messages(session.id, [said("a"), said("b")])
        with pytest.raises(NotSupportedError):
            await manager.list_sessions()
        with pytest.raises(NotSupportedError):
            await anext(manager.iter_sessions())
        assert store.calls == before

    asyncio.run(main())


def test_a_blocking_store_is_refused_with_the_way_to_an_async_one() -> None:
    with open_storage("memory://") as storage, pytest.raises(ConfigError, match="open_async_storage opens one"):
        AsyncSessionManager(storage)  # type: ignore[arg-type]  # the mistake
