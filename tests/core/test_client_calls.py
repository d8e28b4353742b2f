"""Calls of a blocking client from code of either mode."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from session_continuity import call_runner, run_now
from session_continuity.runtime.client_calls import DirectRunner, ThreadRunner

from ..kit.waiting import wait_in_loop

if TYPE_CHECKING:
    from .conftest import RunPython

variable: ContextVar[str] = ContextVar("variable")


class Call:
    """A blocking call that waits in the middle until a test lets it end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.may_end.wait(10)
        self.ended.set()
        return "result"


def fails() -> None:
    raise KeyError("mine")


def wire_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("session-continuity")]


def test_each_mode_has_its_runner() -> None:
    assert isinstance(call_runner("blocking"), DirectRunner)
    assert isinstance(call_runner("async"), ThreadRunner)


def test_a_direct_runner_calls_on_the_stack_of_its_caller() -> None:
    wire = DirectRunner()
    assert run_now(wire.call(threading.current_thread)) is threading.current_thread()
    assert run_now(wire.call(int, "11", base=2)) == 3
    wire.close()
    run_now(wire.aclose())


def test_a_direct_runner_passes_errors_through() -> None:
    with pytest.raises(KeyError, match="mine"):
        run_now(DirectRunner().call(fails))


def test_a_thread_runner_calls_in_a_worker_thread() -> None:
    async def main() -> None:
        wire = ThreadRunner()
        assert await wire.call(threading.current_thread) is not threading.current_thread()
        assert await wire.call(int, "11", base=2) == 3
        wire.close()

    asyncio.run(main())


def test_a_thread_runner_passes_errors_through() -> None:
    async def main() -> None:
        wire = ThreadRunner()
        with pytest.raises(KeyError, match="mine"):
            await wire.call(fails)
        wire.close()

    asyncio.run(main())


def test_a_thread_runner_passes_context_variables_to_its_call() -> None:
    async def main() -> str:
        wire = ThreadRunner()
        variable.set("a trace")
        try:
            return await wire.call(variable.get)
        finally:
            wire.close()

    assert asyncio.run(main()) == "a trace"


def test_a_thread_runner_has_at_most_the_given_number_of_threads() -> None:
    async def main() -> int:
        wire, calls = ThreadRunner(2), [Call() for _ in range(3)]
        tasks = [asyncio.create_task(wire.call(call)) for call in calls]
        await asyncio.gather(wait_in_loop(calls[0].begun), wait_in_loop(calls[1].begun))
        threads = len(wire_threads())
        assert not calls[2].begun.is_set()
        for call in calls:
            call.may_end.set()
        assert await asyncio.gather(*tasks) == ["result"] * 3
        wire.close()
        return threads

    assert asyncio.run(main()) == 2


def test_a_cancelled_caller_leaves_at_once_and_its_call_runs_to_its_end() -> None:
    async def main() -> None:
        wire, call = ThreadRunner(), Call()
        task = asyncio.create_task(wire.call(call))
        await wait_in_loop(call.begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not call.ended.is_set()
        call.may_end.set()
        wire.close()
        assert call.ended.is_set()

    asyncio.run(main())


def test_a_cancelled_call_that_waits_for_a_thread_never_starts() -> None:
    async def main() -> None:
        wire, first, second = ThreadRunner(1), Call(), Call()
        running = asyncio.create_task(wire.call(first))
        await wait_in_loop(first.begun)
        waiting = asyncio.create_task(wire.call(second))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.may_end.set()
        assert await running == "result"
        wire.close()
        assert not second.begun.is_set()

    asyncio.run(main())


def test_the_error_of_a_call_whose_caller_left_is_not_reported() -> None:
    async def main() -> None:
        wire, call = ThreadRunner(), Call()

        def fails_late() -> None:
            call()
            raise KeyError("nobody waits for this")

        task = asyncio.create_task(wire.call(fails_late))
        await wait_in_loop(call.begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        call.may_end.set()
        wire.close()

    asyncio.run(main())


def test_close_waits_for_the_calls_in_progress() -> None:
    async def main() -> None:
        wire, call = ThreadRunner(), Call()
        task = asyncio.create_task(wire.call(call))
        await wait_in_loop(call.begun)
        closing = asyncio.create_task(asyncio.to_thread(wire.close))
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done
        call.may_end.set()
        await closing
        assert call.ended.is_set()
        assert await task == "result"

    asyncio.run(main())


def test_aclose_waits_for_the_calls_in_progress_and_the_loop_keeps_running() -> None:
    async def main() -> None:
        wire, call = ThreadRunner(), Call()
        task = asyncio.create_task(wire.call(call))
        await wait_in_loop(call.begun)
        closing = asyncio.create_task(wire.aclose())
        done, _ = await asyncio.wait([closing], timeout=0.05)
        assert not done
        call.may_end.set()
        await closing
        assert call.ended.is_set()
        assert await task == "result"
        await wire.aclose()
        assert not wire_threads()

    asyncio.run(main())


def test_aclose_leaves_no_thread_behind() -> None:
    async def main() -> None:
        before = threading.enumerate()
        wire = ThreadRunner()
        assert await wire.call(int) == 0
        await wire.aclose()
        assert threading.enumerate() == before

    asyncio.run(main())


def test_a_closed_runner_leaves_no_thread_and_may_be_used_again() -> None:
    async def main() -> None:
        wire = ThreadRunner()
        assert await wire.call(int) == 0
        assert wire_threads()
        wire.close()
        wire.close()
        assert not wire_threads()
        assert await wire.call(int) == 0
        wire.close()
        assert not wire_threads()

    asyncio.run(main())


def test_a_runner_serves_several_loops_in_several_threads() -> None:
    wire = ThreadRunner()

    async def main(number: int) -> int:
        return sum([await wire.call(int, number) for _ in range(20)])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: asyncio.run(main(number)), range(4))) == [0, 20, 40, 60]
    wire.close()


def test_a_thread_runner_works_in_a_forked_child(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio, os, warnings
        from session_continuity.runtime.client_calls import ThreadRunner

        wire = ThreadRunner()
        assert asyncio.run(wire.call(os.getpid)) == os.getpid()
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork beside threads
        child = os.fork()
        if child == 0:
            assert asyncio.run(wire.call(os.getpid)) == os.getpid()
            wire.close()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert asyncio.run(wire.call(os.getpid)) == os.getpid()
        wire.close()
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_forgets_to_close_its_runner_ends(run_python: RunPython) -> None:
    done = run_python("""
        import asyncio
        from session_continuity.runtime.client_calls import ThreadRunner

        assert asyncio.run(ThreadRunner().call(int)) == 0
    """)
    assert (done.returncode, done.stderr) == (0, "")
