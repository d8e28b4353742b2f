"""`run_now` and `sleeper`: coroutines on the caller's stack, and the error of one that suspends."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest

from session_continuity import WouldSuspendError, run_now, sleeper

variable: ContextVar[str] = ContextVar("variable", default="outside")


class Suspension:
    """Suspends once, as real I/O would. Its repr is its name."""

    def __await__(self) -> Generator[Any, Any, str]:
        yield self
        return "resumed"

    def __repr__(self) -> str:
        return "<a socket>"


async def suspends() -> str:
    return await Suspension()


async def outer() -> str:
    return await suspends()


def test_a_coroutine_that_never_suspends_gives_its_result() -> None:
    async def inner(number: int) -> int:
        return number + 1

    async def calls() -> int:
        return await inner(1) + await inner(2)

    assert run_now(calls()) == 5


def test_an_error_passes_through_as_it_is() -> None:
    error = KeyError("mine")

    async def fails() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        run_now(fails())
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), RuntimeError("mine")])
def test_errors_that_loops_treat_specially_pass_through_as_well(error: BaseException) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_now(fails())
    assert caught.value is error


def test_a_suspension_is_an_error_that_names_what_was_awaited() -> None:
    with pytest.raises(WouldSuspendError, match="awaited <a socket> in blocking mode, where nothing may suspend"):
        run_now(outer())


def test_the_traceback_of_a_suspension_ends_at_the_await() -> None:
    with pytest.raises(WouldSuspendError) as caught:
        run_now(outer())
    functions = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert functions[-3:] == ["outer", "suspends", "__await__"]


def test_a_suspended_coroutine_runs_its_cleanup() -> None:
    steps: list[str] = []

    async def careful() -> None:
        try:
            await Suspension()
        finally:
            steps.append("cleaned up")

    with pytest.raises(WouldSuspendError):
        run_now(careful())
    assert steps == ["cleaned up"]


def test_a_coroutine_that_swallows_the_error_is_still_refused() -> None:
    async def swallows() -> str:
        try:
            return await Suspension()
        except WouldSuspendError:
            return "as if nothing had happened"

    with pytest.raises(WouldSuspendError, match="awaited <a socket> in blocking mode, and the error was swallowed"):
        run_now(swallows())


def test_a_coroutine_that_swallows_the_error_and_suspends_again_is_closed() -> None:
    steps: list[str] = []

    async def stubborn() -> None:
        while True:
            try:
                await Suspension()
            except WouldSuspendError:
                steps.append("swallowed")
            finally:
                steps.append("left")

    with pytest.raises(WouldSuspendError, match="and again after the error"):
        run_now(stubborn())
    assert steps == ["swallowed", "left", "left"]


def test_an_error_raised_in_place_of_the_suspension_passes_through_with_it_chained() -> None:
    async def translates() -> None:
        try:
            await Suspension()
        except WouldSuspendError as error:
            raise KeyError("translated") from error

    with pytest.raises(KeyError) as caught:
        run_now(translates())
    assert isinstance(caught.value.__cause__, WouldSuspendError)


async def waits_for_a_timeout() -> None:
    async with asyncio.timeout(1):
        await asyncio.sleep(0)


async def waits_for_a_lock() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


ASYNCIO: list[Callable[[], Awaitable[object]]] = [
    lambda: asyncio.sleep(0.001),
    lambda: asyncio.to_thread(int),
    waits_for_a_timeout,
    waits_for_a_lock,
]


async def awaits(call: Callable[[], Awaitable[object]]) -> None:
    await call()


def test_an_attribute_error_of_the_caller_is_not_a_suspension() -> None:
    async def fails() -> None:
        raise AttributeError("no attribute 'create_future'", name="create_future", obj="an object")

    with pytest.raises(AttributeError):
        run_now(fails())


@pytest.mark.parametrize("call", ASYNCIO, ids=["sleep", "to_thread", "timeout", "lock"])
def test_asking_asyncio_for_its_loop_is_a_suspension_too(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(WouldSuspendError, match="blocking mode has no event loop") as caught:
        run_now(awaits(call))
    assert isinstance(caught.value.__cause__, RuntimeError | AttributeError)


def test_a_bare_yield_to_the_loop_is_a_suspension() -> None:
    with pytest.raises(WouldSuspendError, match="awaited None in blocking mode"):
        run_now(awaits(lambda: asyncio.sleep(0)))


def test_inside_a_running_loop_a_coroutine_runs_and_a_suspension_is_refused() -> None:
    async def main() -> tuple[str, str]:
        async def immediate() -> str:
            return "done"

        with pytest.raises(WouldSuspendError, match="awaited <Future pending"):
            run_now(awaits(lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)
        return run_now(immediate()), "the loop goes on"

    assert asyncio.run(main()) == ("done", "the loop goes on")


def test_context_variables_set_inside_are_seen_by_the_caller() -> None:
    async def sets() -> None:
        variable.set("inside")

    token = variable.set("outside")
    try:
        run_now(sets())
        assert variable.get() == "inside"
    finally:
        variable.reset(token)


def test_a_blocking_sleeper_waits_without_a_loop() -> None:
    started = time.monotonic()
    run_now(awaits(lambda: sleeper("blocking")(0.02)))
    assert time.monotonic() - started >= 0.02


def test_an_async_sleeper_lets_the_loop_run_others() -> None:
    async def main() -> list[str]:
        steps: list[str] = []

        async def sleeps() -> None:
            await sleeper("async")(0.02)
            steps.append("slept")

        async def works() -> None:
            steps.append("worked")

        await asyncio.gather(sleeps(), works())
        return steps

    assert asyncio.run(main()) == ["worked", "slept"]


def test_an_async_sleeper_is_refused_in_blocking_mode() -> None:
    with pytest.raises(WouldSuspendError):
        run_now(awaits(lambda: sleeper("async")(0.001)))
