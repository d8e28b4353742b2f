"""Instances for each event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from session_continuity import ConfigError, FirstLoop, LoopBound, StorageClosedError

from ..kit.threads import run_in_threads


class Factory:
    """Creates and closes instances, and keeps in which loop each of it happened."""

    def __init__(self) -> None:
        self.is_closed = asyncio.Event()
        self.made: list[asyncio.AbstractEventLoop] = []
        self.closed: list[asyncio.AbstractEventLoop] = []
        self.bound = LoopBound(self.make, self.close)

    async def make(self) -> object:
        await asyncio.sleep(0)
        self.made.append(asyncio.get_running_loop())
        return object()

    async def close(self, _: object) -> None:
        await asyncio.sleep(0)
        self.closed.append(asyncio.get_running_loop())
        self.is_closed.set()


@pytest.fixture
def factory() -> Factory:
    return Factory()


def test_an_instance_is_created_once_in_a_loop_and_closed_there(factory: Factory) -> None:
    async def many() -> int:
        found = await asyncio.gather(*(factory.bound.get() for _ in range(5)))
        assert await factory.bound.get() is found[0]
        return len(set(map(id, found)))

    assert asyncio.run(many()) == 1
    assert factory.closed == factory.made
    assert len(factory.made) == 1


def test_every_loop_has_its_own_instance_and_none_is_left(factory: Factory) -> None:
    found = [asyncio.run(factory.bound.get()) for _ in range(200)]
    assert len(set(map(id, found))) == 200
    assert factory.closed == factory.made


def test_loops_at_once_have_one_instance_each(factory: Factory) -> None:
    together = threading.Barrier(3)

    async def meet() -> object:
        first = await factory.bound.get()
        together.wait()
        assert await factory.bound.get() is first
        return first

    found = list(run_in_threads([lambda: asyncio.run(meet())] * 3))
    assert len(set(map(id, found))) == 3
    assert set(factory.closed) == set(factory.made)


def test_close_reaches_the_instances_of_other_loops(factory: Factory) -> None:
    other = asyncio.Runner()
    other.run(factory.bound.get())
    asyncio.run(factory.bound.close())
    assert factory.closed == []
    other.run(factory.is_closed.wait())
    assert factory.closed == factory.made
    other.close()
    with pytest.raises(StorageClosedError):
        asyncio.run(factory.bound.get())


def test_an_instance_that_is_finished_after_close_is_closed_at_once(factory: Factory) -> None:
    async def scenario() -> None:
        opening = asyncio.create_task(factory.bound.get())
        await asyncio.sleep(0)
        await factory.bound.close()
        with pytest.raises(StorageClosedError):
            await opening
        assert factory.closed == factory.made

    asyncio.run(scenario())
    assert len(factory.made) == 1


def test_the_instance_of_a_loop_that_was_closed_without_warning_is_dropped(factory: Factory) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(factory.bound.get())
    loop.close()
    asyncio.run(factory.bound.get())
    asyncio.run(factory.bound.close())
    assert factory.closed == factory.made[1:]


def test_an_instance_that_could_not_be_created_is_created_by_the_next_call() -> None:
    failures = [KeyError("mine")]

    async def make() -> str:
        if failures:
            raise failures.pop()
        return "client"

    async def close(_: str) -> None: ...

    async def twice() -> str:
        bound = LoopBound(make, close)
        with pytest.raises(KeyError):
            await bound.get()
        return await bound.get()

    assert asyncio.run(twice()) == "client"


def test_what_was_passed_in_is_refused_in_a_second_loop() -> None:
    first = FirstLoop()

    async def check(times: int) -> None:
        for _ in range(times):
            first.check()

    asyncio.run(check(2))
    with pytest.raises(ConfigError, match="different event loop"):
        asyncio.run(check(1))
