"""Concurrent calls in either mode."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import Mode, gather, run_now, sleeper

if TYPE_CHECKING:
    from .conftest import RunPython

variable: ContextVar[str] = ContextVar("variable", default="outside")

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["async", "blocking"])
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def run(mode: Mode) -> Iterator[Run]:
    if mode == "blocking":
        yield run_now
        return
    with asyncio.Runner() as runner:
        yield runner.run


class Crowd:
    """Calls that count how many run at once. Each waits until enough others run."""

    def __init__(self, mode: Mode, together: int) -> None:
        self._mode = mode
        self._together = together
        self._lock = threading.Lock()
        self.present = self.most = self.begun = 0
        self._full = asyncio.Event() if mode == "async" else threading.Event()

    async def call(self, number: int) -> int:
        with self._lock:
            self.begun += 1
            self.present += 1
            self.most = max(self.most, self.present)
            if self.begun >= self._together:
                self._full.set()
        if isinstance(self._full, asyncio.Event):
            await asyncio.wait_for(self._full.wait(), 10)
        else:
            assert self._full.wait(10)
        with self._lock:
            self.present -= 1
        return number * number


def test_results_come_in_the_order_of_the_calls(mode: Mode, run: Run) -> None:
    async def at_once() -> tuple[Crowd, list[int]]:
        crowd = Crowd(mode, together=5)
        return crowd, await gather(mode, [partial(crowd.call, n) for n in range(5)])

    crowd, found = run(at_once())
    assert found == [0, 1, 4, 9, 16]
    assert crowd.most == 5


def test_at_most_the_limit_run_at_once(mode: Mode, run: Run) -> None:
    async def at_once() -> Crowd:
        crowd = Crowd(mode, together=3)
        await gather(mode, [partial(crowd.call, n) for n in range(20)], limit=3)
        return crowd

    crowd = run(at_once())
    assert (crowd.begun, crowd.most) == (20, 3)


def test_none_and_one_need_no_task_and_no_thread(mode: Mode, run: Run) -> None:
    async def where() -> object:
        return asyncio.current_task() if mode == "async" else threading.current_thread()

    async def same_place() -> bool:
        return await gather(mode, [where]) == [await where()] and await gather(mode, list[Any]()) == []

    assert run(same_place())


@pytest.mark.parametrize("others", [2, 200])
def test_an_error_is_raised_when_no_call_runs_any_more(mode: Mode, run: Run, others: int) -> None:
    async def failing() -> tuple[Crowd, int]:
        crowd = Crowd(mode, together=3)

        async def refuse() -> int:
            await crowd.call(0)
            raise KeyError("mine")

        async def slow(number: int) -> int:
            await sleeper(mode)(0.005)
            return await crowd.call(number)

        calls = [refuse, *(partial(slow, n) for n in range(others))]
        with pytest.raises(KeyError, match="mine"):
            await gather(mode, calls, limit=3)
        return crowd, crowd.begun

    crowd, begun = run(failing())
    assert crowd.present == 0
    assert crowd.begun == begun < 200


def test_calls_see_the_context_of_their_caller(mode: Mode, run: Run) -> None:
    async def told() -> str:
        return variable.get()

    async def inside() -> list[str]:
        variable.set("inside")
        return await gather(mode, [told, told])

    assert run(inside()) == ["inside", "inside"]


def test_cancelling_the_caller_ends_every_call() -> None:
    ended: list[int] = []

    async def held(number: int, begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    async def cancelled() -> None:
        begun = [asyncio.Event() for _ in range(2)]
        task = asyncio.create_task(gather("async", [partial(held, n, event) for n, event in enumerate(begun)]))
        for event in begun:
            await event.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == [0, 1]

    asyncio.run(cancelled())


def test_calls_run_one_after_the_other_during_shutdown(run_python: RunPython) -> None:
    ended = run_python(
        """
        import atexit
        from session_continuity import gather, run_now

        async def one() -> int:
            return 1

        atexit.register(lambda: print(run_now(gather("blocking", [one, one, one]))))
        """
    )
    assert (ended.stdout, ended.stderr) == ("[1, 1, 1]\n", "")


class Interrupted(KeyboardInterrupt):
    """What a signal handler raises."""


class Strike:
    """Raises where a thread has taken the lock of a condition of Python for the n-th time, as a signal handler may."""

    def __init__(self, place: int) -> None:
        self._left = place

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "c_return" and frame.f_code is threading.Condition.__enter__.__code__:
            self._left -= 1
            if self._left == 0:
                sys.setprofile(None)
                raise Interrupted


@pytest.mark.parametrize("place", range(1, 6))
def test_a_caller_that_is_interrupted_within_a_lock_does_not_wait_for_ever(place: int) -> None:
    caller_is_here = threading.Event()

    async def call() -> int:
        if threading.current_thread() is not caller:
            caller_is_here.wait(0.2)  # so that the caller waits for this call
        return 1

    def gathered() -> None:
        sys.setprofile(Strike(place))
        try:
            with suppress(Interrupted):
                run_now(gather("blocking", [call] * 3))
        finally:
            sys.setprofile(None)

    caller = threading.Thread(target=gathered, daemon=True)
    caller.start()
    caller.join(20)
    assert not caller.is_alive()
