"""The portal: an event loop in a background thread, driven by blocking code."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import ConfigError, Portal, run_now

if TYPE_CHECKING:
    from .conftest import RunPython

variable: ContextVar[str] = ContextVar("variable", default="outside")


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal()
    yield made
    made.close()


def portal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "session-continuity-portal"]


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Held:
    """A coroutine that runs until a test cancels it, and then takes a moment to end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.steps: list[str] = []

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
            self.steps.append("ended")
            raise


def test_a_coroutine_that_suspends_gives_its_result(portal: Portal) -> None:
    assert portal.run(doubled(2)) == 4


def test_an_error_passes_through_as_it_is(portal: Portal) -> None:
    error = KeyError("mine")

    async def fails() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        portal.run(fails())
    assert caught.value is error


def test_a_coroutine_that_cancels_itself_raises_that(portal: Portal) -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        portal.run(gives_up())
    assert portal.run(doubled(1)) == 2


def test_all_calls_share_one_loop_and_one_thread(portal: Portal) -> None:
    async def where() -> tuple[int, int]:
        return id(asyncio.get_running_loop()), threading.get_ident()

    first, second = portal.run(where()), portal.run(where())
    assert first == second
    assert first[1] != threading.get_ident()
    assert len(portal_threads()) == 1


def test_many_threads_call_at_once(portal: Portal) -> None:
    barrier = threading.Barrier(8)

    def calls(number: int) -> list[int]:
        barrier.wait(10)
        return [portal.run(doubled(number)) for _ in range(50)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(calls, range(8))) == [[2 * number] * 50 for number in range(8)]
    assert len(portal_threads()) == 1


def test_calls_of_several_threads_run_side_by_side(portal: Portal) -> None:
    async def meets(mine: asyncio.Event, other: asyncio.Event) -> str:
        mine.set()
        await asyncio.wait_for(other.wait(), 10)
        return "met"

    left, right = asyncio.Event(), asyncio.Event()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(portal.run, meets(*pair)) for pair in ((left, right), (right, left))]
        assert [call.result(10) for call in calls] == ["met", "met"]


def test_a_call_works_inside_a_running_loop(portal: Portal) -> None:
    async def main() -> int:
        return portal.run(doubled(3))

    assert asyncio.run(main()) == 6


def test_a_coroutine_sees_the_callers_context_variables_and_keeps_its_own(portal: Portal) -> None:
    async def sets() -> str:
        seen = variable.get()
        variable.set("inside")
        return seen

    token = variable.set("the caller's")
    try:
        assert portal.run(sets()) == "the caller's"
        assert variable.get() == "the caller's"
    finally:
        variable.reset(token)


def test_no_thread_starts_before_the_first_call() -> None:
    Portal().close()
    assert portal_threads() == []


def test_close_ends_the_thread_and_may_be_repeated() -> None:
    portal = Portal()
    portal.run(doubled(1))
    portal.close()
    portal.close()
    assert portal_threads() == []


def test_a_call_after_close_is_refused() -> None:
    portal = Portal()
    portal.close()
    with pytest.raises(ConfigError, match="the portal is closed; open the store again"):
        portal.run(doubled(1))


def test_close_cancels_running_calls_and_their_callers_get_an_error() -> None:
    portal, held = Portal(), Held()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(portal.run, held.run())
        assert held.begun.wait(10)
        portal.close()
        assert held.steps == ["ended"]
        with pytest.raises(ConfigError, match="the portal was closed during this call"):
            call.result(10)
    assert portal_threads() == []


def test_close_ends_background_tasks_and_generators() -> None:
    portal, steps = Portal(), list[str]()

    async def numbers() -> Iterator[int]:  # type: ignore[misc]
        try:
            yield 1
            yield 2
        finally:
            steps.append("generator closed")

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            steps.append("task cancelled")

    tasks = list[object]()

    async def starts() -> int:
        tasks.append(asyncio.create_task(background()))
        tasks.append(numbers())
        await asyncio.sleep(0)
        return await anext(tasks[1])  # type: ignore[no-any-return, call-overload]

    assert portal.run(starts()) == 1
    portal.close()
    assert sorted(steps) == ["generator closed", "task cancelled"]


@pytest.mark.parametrize("calls_before", [0, 1, 10])
def test_calls_that_race_with_close_end_with_a_result_or_a_refusal(calls_before: int) -> None:
    portal, results = Portal(), list[int]()

    def calls_until_refused() -> str:
        while True:
            try:
                results.append(portal.run(doubled(1)))
            except ConfigError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(calls_until_refused) for _ in range(4)]
        while len(results) < calls_before:
            time.sleep(0)
        portal.close()
        refusals = {caller.result(10) for caller in callers}
    assert refusals <= {
        "the portal is closed; open the store again",
        "the portal was closed during this call; its outcome is unknown",
    }
    assert set(results) <= {2}
    assert portal_threads() == []


def test_a_call_from_the_portals_own_thread_is_refused(portal: Portal) -> None:
    async def calls_back() -> int:
        return portal.run(doubled(1))

    with pytest.raises(ConfigError, match="from the portal's own thread would wait for itself"):
        portal.run(calls_back())
    assert portal.run(doubled(1)) == 2


def test_a_close_from_the_portals_own_thread_is_refused(portal: Portal) -> None:
    async def closes() -> None:
        portal.close()

    with pytest.raises(ConfigError, match="from the portal's own thread"):
        portal.run(closes())
    assert portal.run(doubled(1)) == 2


def test_a_forgotten_portal_ends_its_thread() -> None:
    portal = Portal()
    portal.run(doubled(1))
    del portal
    gc.collect()
    assert portal_threads() == []


def test_a_portal_whose_last_reference_is_in_its_own_thread_ends_too() -> None:
    held, may_forget = [Portal()], threading.Event()

    async def forgets() -> None:
        await asyncio.to_thread(may_forget.wait, 10)
        held.clear()

    async def starts() -> asyncio.Task[None]:
        return asyncio.create_task(forgets())

    task = held[0].run(starts())
    (thread,) = portal_threads()
    may_forget.set()
    thread.join(10)
    assert (thread.is_alive(), task.done()) == (False, True)


def test_portals_leave_no_file_open() -> None:
    def opened() -> int:
        return len(os.listdir("/dev/fd"))

    before = opened()
    for _ in range(20):
        portal = Portal()
        portal.run(doubled(1))
        portal.close()
    assert opened() == before


def test_a_refused_coroutine_is_closed_without_a_warning(portal: Portal) -> None:
    portal.close()
    refused = doubled(1)
    with pytest.raises(ConfigError):
        portal.run(refused)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        run_now(refused)


def test_ctrl_c_ends_the_coroutine_before_the_caller_continues(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio, os, signal
        from session_continuity import Portal

        async def held():
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                print("coroutine ended", flush=True)

        portal = Portal()
        try:
            portal.run(held())
        except KeyboardInterrupt:
            print("caller interrupted", flush=True)
            print(portal.run(asyncio.sleep(0, "portal goes on")), flush=True)
            raise
    """)
    assert done.stdout.splitlines() == ["coroutine ended", "caller interrupted", "portal goes on"]
    assert done.returncode == -2
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("strikes", ["before", "after"])
def test_ctrl_c_while_a_call_is_handed_over_leaves_nothing_behind(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, strikes: str
) -> None:
    portal.run(doubled(1))
    held, schedule = Held(), asyncio.BaseEventLoop.call_soon_threadsafe

    def interrupted(loop: asyncio.BaseEventLoop, *arguments: Any) -> Any:
        monkeypatch.undo()
        if strikes == "after":
            schedule(loop, *arguments)
            assert held.begun.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_soon_threadsafe", interrupted)
    coroutine = held.run()
    with pytest.raises(KeyboardInterrupt):
        portal.run(coroutine)
    assert held.steps == (["ended"] if strikes == "after" else [])
    assert coroutine.cr_frame is None
    assert portal.run(doubled(1)) == 2


def test_a_second_ctrl_c_does_not_wait_for_the_coroutine(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio, os, signal
        from session_continuity import Portal
        from session_continuity.runtime import portal

        portal._EXIT_TIMEOUT = 0.1

        async def stubborn():
            for interrupts in range(1000):
                if interrupts < 2:
                    os.kill(os.getpid(), signal.SIGINT)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    continue

        Portal().run(stubborn())
    """)
    assert done.returncode == -2
    assert done.stderr.splitlines()[-1].startswith("KeyboardInterrupt")


def test_a_program_that_ends_without_close_cancels_running_calls(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio
        from session_continuity import Portal

        async def background():
            try:
                await asyncio.sleep(60)
            finally:
                print("background ended", flush=True)

        async def starts():
            global task
            task = asyncio.create_task(background())
            await asyncio.sleep(0)

        portal = Portal()
        portal.run(starts())
        print("main ends", flush=True)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["main ends", "background ended"]


def test_a_task_that_does_not_end_does_not_block_the_exit(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio
        from session_continuity import Portal
        from session_continuity.runtime import portal

        portal._EXIT_TIMEOUT = 0.1

        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    continue

        async def starts():
            global task
            task = asyncio.create_task(stubborn())
            await asyncio.sleep(0)

        Portal().run(starts())
    """)
    assert done.returncode == 0


def test_a_forked_child_is_refused_and_the_parent_continues(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio, os, sys, warnings
        from session_continuity import ConfigError, Portal

        portal = Portal()
        portal.run(asyncio.sleep(0))
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork beside threads
        child = os.fork()
        if child == 0:
            try:
                portal.run(asyncio.sleep(0))
            except ConfigError as error:
                print(error, flush=True)
            portal.close()
            own = Portal()
            print(own.run(asyncio.sleep(0, "the child's own portal works")), flush=True)
            own.close()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(portal.run(asyncio.sleep(0, "the parent goes on")))
        portal.close()
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "this store was opened before a fork; open it again in the child process",
        "the child's own portal works",
        "the parent goes on",
    ]
