"""What is told, to whom, and that telling never breaks what it tells."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from session_continuity import (
    AgentHandoff,
    BudgetExceeded,
    CompressionApplied,
    CompressionFailed,
    ErrorOccurred,
    Event,
    MessageAdded,
    MessageDeleted,
    MessageUpdated,
    ParticipantJoined,
    ParticipantLeft,
    Registry,
    SessionCreated,
    SessionDeleted,
    SessionEnded,
    SessionExpired,
    SessionManager,
    SessionUpdated,
    TokenBudgetExceededError,
    ValidationError,
    WouldSuspendError,
    hookimpl,
)
from session_continuity.events import EVENT_TYPES

from ..kit.clocks import START, Clock
from ..kit.conversations import REPLY, said
from ..kit.recording import RecordingAdapter
from ..kit.threads import run_in_threads
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)


@pytest.fixture
def told(manager: SessionManager) -> list[Event]:
    """Everything that the manager tells."""
    heard: list[Event] = []
    manager.on(Event, heard.append)
    return heard


def facts(event: Event) -> dict[str, Any]:
    return {"type": event.type, **{field.name: getattr(event, field.name) for field in fields(event)}}


def test_the_events_are_these_fifteen() -> None:
    assert list(EVENT_TYPES) == [
        "session:created",
        "session:updated",
        "session:ended",
        "session:expired",
        "session:deleted",
        "message:added",
        "message:updated",
        "message:deleted",
        "participant:joined",
        "participant:left",
        "agent:handoff",
        "compression:applied",
        "compression:failed",
        "budget:exceeded",
        "error",
    ]
    assert {kind.type for kind in EVENT_TYPES.values()} == EVENT_TYPES.keys()


def live(manager: SessionManager, clock: Clock) -> list[str]:
    """The life of a session, with every event in it but an error; the ids of its two messages."""
    manager.create_session(id="s", token_budget={"max_tokens": 10, "overflow_strategy": "error"}, active_agent_id="a")
    clock.advance(seconds=1)
    first, second = manager.add_messages("s", [said("x", tokens=2), said("y", role="user", tokens=3)])
    manager.update_message("s", first.id, content="z", token_count=2)
    manager.add_participant("s", "p")
    manager.remove_participant("s", "p")
    manager.handoff_to_agent("s", "b", reason="why", context={"k": [1]})
    with pytest.raises(TokenBudgetExceededError):
        manager.add_message("s", **said("big", tokens=6))
    manager.compress_context("s", "sliding_window")
    manager.update_session("s", token_budget={"max_tokens": 3 + REPLY}, user_id="u")
    manager.compress_context("s", "sliding_window")
    manager.delete_message("s", second.id)
    manager.delete_all_messages("s")
    manager.end_session("s")
    manager.delete_session("s")
    manager.create_session(id="t", ttl=1)
    clock.advance(seconds=1)
    manager.cleanup_expired_sessions()
    return [first.id, second.id]


def test_a_life_is_told_with_its_facts_in_order(
    manager: SessionManager, told: list[Event], clock: Clock, store: RecordingAdapter
) -> None:
    del store
    first, second = live(manager, clock)
    at = START + timedelta(seconds=1)
    one = {"session_id": "s", "at": at}
    unnamed = {"message_id": None, "message_tokens": None}
    assert [facts(event) for event in told] == [
        {"type": "session:created", "session_id": "s", "at": START},
        {"type": "message:added", **one, "message_id": first, "role": "user", "token_count": 2},
        {"type": "message:added", **one, "message_id": second, "role": "user", "token_count": 3},
        {"type": "message:updated", **one, "message_id": first, "fields": {"content", "token_count"}},
        {"type": "participant:joined", **one, "participant_id": "p"},
        {"type": "participant:left", **one, "participant_id": "p"},
        {
            "type": "agent:handoff",
            **one,
            "from_agent_id": "a",
            "to_agent_id": "b",
            "reason": "why",
            "context": {"k": [1]},
        },
        {"type": "budget:exceeded", **one, "requested": 6, "limit": 10, **unnamed},
        {"type": "session:updated", **one, "fields": {"token_budget", "user_id"}, "version": 5},
        {
            "type": "compression:applied",
            **one,
            "strategy": "sliding_window",
            "messages": 1,
            "shortened": 0,
            "tokens_before": 5,
            "tokens_after": 3,
        },
        {"type": "message:deleted", **one, "message_id": second},
        {"type": "message:deleted", **one, "message_id": None},
        {"type": "session:ended", **one},
        {"type": "session:deleted", **one},
        {"type": "session:created", **one, "session_id": "t"},
        {"type": "session:expired", "session_id": "t", "at": at + timedelta(seconds=1)},
    ]
    covered = {type(event) for event in told} | {ErrorOccurred, CompressionFailed}
    assert covered == set(EVENT_TYPES.values())


def test_an_event_is_told_after_the_fact_and_cannot_be_changed(
    manager: SessionManager, store: RecordingAdapter
) -> None:
    seen: list[int] = []

    def look(event: SessionCreated) -> None:
        seen.append(store.calls.count("create_session"))
        with pytest.raises(FrozenInstanceError):
            event.session_id = "other"  # type: ignore[misc]

    manager.on("session:created", look)
    manager.on("error", lambda event: seen.append(event.error))
    manager.create_session()
    assert seen == [1]


def test_nothing_is_told_of_what_failed_or_was_a_repeat(manager: SessionManager, told: list[Event]) -> None:
    session = manager.create_session(participants=["p"])
    manager.add_message(session.id, role="user", content="x", id="m")
    manager.remove_participant(session.id, "p")
    told.clear()
    manager.add_message(session.id, role="user", content="x", id="m")
    manager.remove_participant(session.id, "p")
    for fail in (
        lambda: manager.add_message(session.id, role="user", content="other", id="m"),
        lambda: manager.remove_participant(session.id, "nobody"),
        lambda: manager.update_session(session.id, nothing=1),
    ):
        with pytest.raises(ValidationError):
            fail()
    assert told == []


HANDLED: dict[str, type[Event]] = {
    "session:created": SessionCreated,
    "session:updated": SessionUpdated,
    "session:ended": SessionEnded,
    "session:expired": SessionExpired,
    "session:deleted": SessionDeleted,
    "message:added": MessageAdded,
    "message:updated": MessageUpdated,
    "message:deleted": MessageDeleted,
    "participant:joined": ParticipantJoined,
    "participant:left": ParticipantLeft,
    "agent:handoff": AgentHandoff,
    "compression:applied": CompressionApplied,
    "compression:failed": CompressionFailed,
    "budget:exceeded": BudgetExceeded,
    "error": ErrorOccurred,
}


def test_every_event_is_found_by_its_name() -> None:
    assert HANDLED == EVENT_TYPES


def test_handlers_are_told_in_order_of_their_class_then_those_for_all(manager: SessionManager) -> None:
    order: list[str] = []
    manager.on(Event, lambda _: order.append("all"))
    manager.on("session:created", lambda _: order.append("by name"))
    manager.on(SessionCreated, lambda _: order.append("by class"))
    manager.on("message:added", lambda _: order.append("another"))
    manager.create_session()
    assert order == ["by name", "by class", "all"]


def test_a_handler_counts_once_and_can_be_taken_off(manager: SessionManager) -> None:
    heard: list[Event] = []
    manager.on("session:created", heard.append)
    manager.on(SessionCreated, heard.append)
    manager.create_session()
    assert len(heard) == 1
    manager.off("session:created", heard.append)
    manager.off("session:created", heard.append)
    manager.off("message:added", print)
    manager.create_session()
    assert len(heard) == 1


def test_handlers_may_be_coroutine_functions_or_return_awaitables(variant: Variant, manager: SessionManager) -> None:
    heard: list[str] = []

    async def handler(event: Event) -> None:
        if variant.name != "blocking":
            await asyncio.sleep(0)
        heard.append(event.type)

    manager.on("session:created", handler)
    manager.on("session:created", lambda event: handler(event))
    manager.create_session()
    assert heard == ["session:created"] * 2


def test_a_handler_that_fails_becomes_an_error_event_and_the_others_go_on(manager: SessionManager) -> None:
    errors: list[ErrorOccurred] = []
    heard: list[Event] = []

    def broken(_: Event) -> None:
        raise ValueError("oops")

    async def broken_later(_: Event) -> None:
        raise KeyError("oops")

    manager.on("error", errors.append)
    for handler in (broken, broken_later, heard.append):
        manager.on("session:created", handler)
    session = manager.create_session()
    assert [event.session_id for event in heard] == [session.id]
    assert [(type(error.error), error.session_id, error.at) for error in errors] == [
        (ValueError, session.id, START),
        (KeyError, session.id, START),
    ]
    assert "broken" in errors[0].source
    assert "broken_later" in errors[1].source


def test_a_handler_that_suspends_in_blocking_mode_fails_alone(variant: Variant, manager: SessionManager) -> None:
    errors: list[ErrorOccurred] = []
    heard: list[Event] = []

    async def slow(_: Event) -> None:
        await asyncio.sleep(0.001)

    async def patient(_: Event) -> None:
        await asyncio.sleep(0)

    manager.on("error", errors.append)
    for handler in (slow, patient, heard.append):
        manager.on("message:added", handler)
    session = manager.create_session()
    added = manager.add_message(session.id, role="user", content="x")
    assert list(manager.get_messages(session.id)) == [added]
    assert len(heard) == 1
    assert [type(error.error) for error in errors] == ([WouldSuspendError] * 2 if variant.name == "blocking" else [])


def test_an_error_of_an_error_handler_is_logged_and_ends_there(
    manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Event) -> None:
        raise ValueError("oops")

    manager.on(Event, broken)
    with caplog.at_level(logging.ERROR, logger="session_continuity"):
        manager.create_session()
    [record] = caplog.records
    assert "broken" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_an_error_that_nobody_wants_to_hear_is_logged(
    manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __call__(self, _: Event) -> None:
            raise ValueError("oops")

    manager.on("session:created", Broken())
    with caplog.at_level(logging.ERROR, logger="session_continuity"):
        manager.create_session()
    [record] = caplog.records
    assert "Broken" in record.getMessage()
    assert "0x" not in record.getMessage()
    assert record.exc_info is not None


def test_a_handler_may_call_the_manager(variant: Variant, manager: SessionManager) -> None:
    async def greet_awaiting(event: SessionCreated) -> None:
        await manager.inner.add_message(event.session_id, role="system", content="hello")  # type: ignore[attr-defined]

    def greet(event: SessionCreated) -> None:
        manager.add_message(event.session_id, role="system", content="hello")

    if variant.name == "portal":
        errors: list[ErrorOccurred] = []
        manager.on("error", errors.append)
        manager.on("session:created", greet)
        manager.create_session()
        assert "portal's own thread" in str(errors[0].error)
        return
    manager.on("session:created", greet_awaiting if variant.is_async else greet)
    session = manager.create_session()
    assert manager.get_session(session.id).message_count == 1


class Observer:
    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[Event] = []
        self.error = error

    @hookimpl
    def sc_on_event(self, event: Event) -> None:
        self.heard.append(event)
        if self.error is not None:
            raise self.error


def test_extensions_observe_after_the_handlers_and_cannot_break_anything(
    variant: Variant, store: RecordingAdapter
) -> None:
    quiet, broken = Observer(), Observer(ValueError("oops"))
    registry = Registry()
    registry.register_extension(broken, "broken")
    registry.register_extension(quiet, "quiet")
    manager = variant.manager(store, registry=registry)
    errors: list[ErrorOccurred] = []
    manager.on("error", errors.append)
    manager.create_session()
    assert [event.type for event in quiet.heard] == ["session:created", "error"] or [
        event.type for event in quiet.heard
    ] == ["error", "session:created"]
    assert [(error.source, type(error.error)) for error in errors] == [("broken", ValueError)]


def test_an_extension_that_is_registered_later_observes_too(variant: Variant, store: RecordingAdapter) -> None:
    registry = Registry()
    manager = variant.manager(store, registry=registry)
    manager.create_session()
    observer = Observer()
    registry.register_extension(observer)
    manager.create_session()
    assert len(observer.heard) == 1


def test_handlers_added_at_once_are_all_kept(manager: SessionManager) -> None:
    heard: list[int] = []

    def adding(number: int) -> None:
        manager.on("session:created", lambda _: heard.append(number))

    run_in_threads([partial(adding, number) for number in range(32)])
    manager.create_session()
    assert sorted(heard) == list(range(32))
