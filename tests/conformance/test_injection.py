"""Injected faults, for applications that test what they do when a store fails."""

from __future__ import annotations

import asyncio
import time

import pytest

from session_continuity import (
    AsyncSessionManager,
    Registry,
    SessionManager,
    ThrottledError,
    UnavailableError,
    portable,
    run_now,
)
from session_continuity_conformance.faults.injection import (
    FAIL_AFTER,
    FAIL_BEFORE,
    THROTTLE,
    Chaos,
    Fault,
    FaultyStorage,
    Planned,
    Random,
    delay,
)
from session_continuity_memory import MemoryStorage

from ..kit.clocks import START, Clock
from ..kit.conversations import new_session
from .conftest import ConformanceCommand


@pytest.fixture
def plan() -> Planned:
    return Planned()


@pytest.fixture
def manager(plan: Planned) -> SessionManager:
    made = SessionManager(FaultyStorage(Registry().create("memory://", "blocking"), plan))
    made.create_session(id="s")
    return made


def texts(manager: SessionManager) -> list[object]:
    return [message.content for message in manager.get_messages("s")]


def test_call_that_fails_before_is_not_made(manager: SessionManager, plan: Planned) -> None:
    plan.add("append_messages", FAIL_BEFORE)
    with pytest.raises(UnavailableError, match="memory: append_messages: a fault was injected, nothing was sent"):
        manager.add_message("s", role="user", content="x")
    assert texts(manager) == []


def test_call_that_fails_after_is_made(manager: SessionManager, plan: Planned) -> None:
    plan.add("append_messages", FAIL_AFTER)
    with pytest.raises(UnavailableError, match="the answer was lost") as raised:
        manager.add_message("s", role="user", content="x")
    assert raised.value.retryable
    assert texts(manager) == ["x"]


def test_faults_come_in_the_order_of_the_plan(manager: SessionManager, plan: Planned) -> None:
    plan.add("append_messages", None, THROTTLE)
    manager.add_message("s", role="user", content="x")
    with pytest.raises(ThrottledError):
        manager.add_message("s", role="user", content="y")
    manager.add_message("s", role="user", content="z")
    assert texts(manager) == ["x", "z"]


def test_call_is_delayed(manager: SessionManager, plan: Planned) -> None:
    plan.add("get_session", delay(0.05))
    began = time.monotonic()
    manager.get_session("s")
    assert time.monotonic() - began >= 0.05


def test_error_that_is_late_is_both() -> None:
    fault = Fault(seconds=0.05, moment="after")
    plan = Planned()
    storage = FaultyStorage(Registry().create("memory://", "blocking"), plan)
    plan.add("health", fault)
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        run_now(storage.health())
    assert time.monotonic() - began >= 0.05


def test_plan_knows_the_methods(plan: Planned) -> None:
    with pytest.raises(ValueError, match="StorageAdapter has no method add_message"):
        plan.add("add_message", FAIL_BEFORE)


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[Fault | None]:
        plan = Random(0.5, seed=seed)
        return [plan("append_messages") for _ in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert {None, FAIL_BEFORE, FAIL_AFTER, THROTTLE} == set(drawn(1))
    assert [Random(1.0, seed=1)(name) for name in ("setup", "close", "health")] == [None] * 3


def test_chaos_stands_around_every_store_of_a_registry() -> None:
    registry = Registry()
    registry.register_extension(Chaos(Random(1.0, seed=1, faults=[FAIL_BEFORE], methods={"create_session"})))
    manager = SessionManager.open("memory://", registry=registry)
    with pytest.raises(UnavailableError):
        manager.create_session()
    manager.close()


@pytest.mark.long("The whole suite, because a wrapper may break any clause.")
def test_chaos_without_faults_keeps_the_contract(conformance: ConformanceCommand) -> None:
    code, report = conformance("--harness", "stores:wrapped_in_chaos", "--mode", "blocking", "--mode", "async")
    assert code == 0, report


def test_a_replaced_clock_travels_through_chaos() -> None:
    store = portable(MemoryStorage())
    wrapper = FaultyStorage(store, Planned())
    wrapper.clock = Clock()
    assert store.clock() == START
    run_now(store.create_session(new_session(expires_at=START)))
    assert run_now(wrapper.get_session("s")) is None


def test_application_that_repeats_by_id_loses_and_doubles_nothing() -> None:
    registry = Registry()
    registry.register_extension(Chaos(Random(0.3, seed=5, methods={"append_messages"})))
    faults = 0
    with SessionManager.open("memory://", registry=registry) as manager:
        manager.create_session(id="s")
        for number in range(60):
            while True:
                try:
                    manager.add_message("s", role="user", content=str(number), id=f"m{number}")
                    break
                except (UnavailableError, ThrottledError):
                    faults += 1
        assert texts(manager) == [str(number) for number in range(60)]
    assert faults > 10


def test_faults_reach_async_code(plan: Planned) -> None:
    async def scenario() -> None:
        manager = AsyncSessionManager(FaultyStorage(Registry().create("memory://", "async"), plan))
        plan.add("create_session", delay(0.001), FAIL_BEFORE)
        await manager.create_session(id="s")
        with pytest.raises(UnavailableError):
            await manager.create_session(id="t")

    asyncio.run(scenario())
