"""Answers that are stored while they arrive, and what is left of one that was broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import (
    AsyncMessageStream,
    AsyncSessionManager,
    ErrorOccurred,
    SessionManager,
    SessionNotFoundError,
    UnavailableError,
    ValidationError,
)
from session_continuity.context.unfinished import BROKEN_OFF

from ..kit.clocks import Clock
from ..kit.conversations import contents
from ..kit.recording import RecordingAdapter
from .variants import SteppedManager, Variant

pytestmark = pytest.mark.on(variant=("blocking-memory", "async-memory", "portal-memory", "blocking-sqlite"))


def stream(
    variant: Variant, manager: SessionManager, session_id: str, talk: list[Callable[[Any], object]], **options: Any
) -> None:
    """Stream a message: each item of `talk` gets the stream and is awaited if it is async."""
    if not isinstance(manager, SteppedManager):
        with manager.stream_message(session_id, **options) as opened:
            for say in talk:
                say(opened)
        return

    async def run() -> None:
        async with manager.inner.stream_message(session_id, **options) as opened:
            for say in talk:
                answer = say(opened)
                if asyncio.iscoroutine(answer):
                    await answer

    variant.run(run)


def says(text: str) -> Callable[[Any], object]:
    return lambda opened: opened.write(text)


def fails(_: Any) -> None:
    raise ConnectionResetError


def test_an_answer_is_one_message_at_the_end(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_message(session.id, "user", "hello")
    finish = lambda opened: opened.finish(metadata={"model": "m"}, token_count=7, usage={"output": 7})  # noqa: E731
    stream(variant, manager, session.id, [says("Good "), says("morning"), finish], id="answer")
    answer = manager.get_message(session.id, "answer")
    assert (answer.role, answer.content, answer.token_count) == ("assistant", "Good morning", 7)
    assert answer.metadata.annotations == {"usage": {"output": 7}}
    assert answer.metadata.model_extra == {"model": "m"}
    assert manager.get_session(session.id).token_count == 2 + 7
    assert contents(manager.get_conversation_context(session.id)) == ["hello", "Good morning"]


def test_it_is_stored_with_the_first_text_and_then_every_so_often(
    variant: Variant, manager: SessionManager, store: RecordingAdapter, clock: Clock
) -> None:
    session = manager.create_session()
    seen: list[int] = []

    def count(_: Any) -> None:
        seen.append(store.calls.count("append_messages") + store.calls.count("update_message"))

    def wait(_: Any) -> None:
        clock.advance(seconds=2)

    stream(variant, manager, session.id, [says("a"), count, says("b"), count, wait, says("c"), count, says("d"), count])
    assert seen == [1, 1, 2, 2]
    assert contents(manager.get_messages(session.id)) == ["abcd"]
    assert store.calls.count("update_message") == 2


def test_an_answer_that_is_broken_off_is_kept_and_marked(variant: Variant, manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_message(session.id, "user", "hello")
    with pytest.raises(ConnectionResetError):
        stream(variant, manager, session.id, [says("Good "), says("mor"), fails])
    assert contents(manager.get_messages(session.id)) == ["hello", "Good mor"]
    manager.add_message(session.id, "user", "go on")
    assert contents(manager.get_conversation_context(session.id)) == ["hello", f"Good mor\n{BROKEN_OFF}", "go on"]
    assert contents(manager.get_conversation_context(session.id, unfinished="drop")) == ["hello", "go on"]
    report = manager.get_conversation_context_with_stats(session.id).report
    assert (report[1].action, report[1].reason) == ("changed", "the answer was broken off")


def test_nothing_is_stored_of_an_answer_that_broke_off_before_its_first_text(
    variant: Variant, manager: SessionManager
) -> None:
    session = manager.create_session()
    with pytest.raises(ConnectionResetError):
        stream(variant, manager, session.id, [fails])
    assert len(manager.get_messages(session.id)) == 0


def test_a_store_that_fails_then_does_not_hide_why_it_broke_off(
    variant: Variant, manager: SessionManager, store: RecordingAdapter
) -> None:
    session = manager.create_session()
    told: list[ErrorOccurred] = []
    manager.on(ErrorOccurred, told.append)

    async def refuse(*_: Any) -> None:
        raise UnavailableError("down")

    def break_store(_: Any) -> None:
        store.before["update_message"] = refuse

    with pytest.raises(ConnectionResetError):
        stream(variant, manager, session.id, [says("a"), break_store, says("b"), fails])
    assert [event.source for event in told] == ["message stream"]
    assert contents(manager.get_messages(session.id)) == ["a"]


def test_what_is_wrong_is_refused(variant: Variant, manager: SessionManager) -> None:
    with pytest.raises(SessionNotFoundError):
        stream(variant, manager, "ghost", [says("a")])
    session = manager.create_session()
    for options in ({"save_every": 0}, {"id": ""}):
        with pytest.raises(ValidationError):
            stream(variant, manager, session.id, [says("a")], **options)
    with pytest.raises(ValidationError, match="token_count"):
        stream(variant, manager, session.id, [says("a"), lambda opened: opened.finish(token_count=-1)])


@pytest.mark.on(variant=("async-memory",))
def test_a_cancelled_task_leaves_what_arrived(variant: Variant, store: RecordingAdapter) -> None:
    manager = AsyncSessionManager(store)

    async def cancelled() -> list[Any]:
        session = await manager.create_session()
        started = asyncio.Event()

        async def answer() -> None:
            async with manager.stream_message(session.id) as opened:
                assert isinstance(opened, AsyncMessageStream)
                await opened.write("Good ")
                await opened.write("mor")
                started.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return contents(await manager.get_messages(session.id))

    assert variant.run(cancelled) == ["Good mor"]
