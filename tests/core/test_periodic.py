"""Periodic jobs, as a task and in a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from session_continuity.runtime.periodic import Periodic

SOON = 0.001
NEVER = 3600.0


def cleanup_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "session-continuity-cleanup"]


def counter(enough: Callable[[], None]) -> tuple[list[int], Callable[[], None]]:
    runs: list[int] = []

    def job() -> None:
        runs.append(1)
        if len(runs) == 3:
            enough()

    return runs, job


def test_a_thread_repeats_its_job_until_stopped() -> None:
    enough = threading.Event()
    runs, job = counter(enough.set)
    periodic = Periodic(SOON)
    periodic.start_thread(job)
    assert enough.wait(10)
    periodic.stop_thread()
    ran = len(runs)
    assert ran >= 3
    assert cleanup_threads() == []
    assert len(runs) == ran


def test_a_thread_waits_one_interval_before_its_first_run_and_stops_at_once() -> None:
    runs, job = counter(lambda: None)
    periodic = Periodic(NEVER)
    periodic.start_thread(job)
    assert len(cleanup_threads()) == 1
    periodic.stop_thread()
    assert (cleanup_threads(), runs) == ([], [])


def test_a_thread_waits_also_longer_than_a_lock_can() -> None:
    periodic = Periodic(2 * threading.TIMEOUT_MAX)
    periodic.start_thread(lambda: None)
    (thread,) = cleanup_threads()
    thread.join(0.1)
    assert thread.is_alive()
    periodic.stop_thread()


def test_stopping_a_thread_waits_for_the_running_job() -> None:
    begun, may_end, steps = threading.Event(), threading.Event(), list[str]()

    def job() -> None:
        begun.set()
        assert may_end.wait(10)
        steps.append("job ended")

    periodic = Periodic(SOON)
    periodic.start_thread(job)
    assert begun.wait(10)

    def stop() -> None:
        periodic.stop_thread()
        steps.append("stopped")

    stopper = threading.Thread(target=stop)
    stopper.start()
    stopper.join(0.05)
    assert stopper.is_alive()
    may_end.set()
    stopper.join(10)
    assert steps == ["job ended", "stopped"]


def test_a_job_may_stop_its_own_thread() -> None:
    periodic, runs, may_stop = Periodic(SOON), list[int](), threading.Event()

    def job() -> None:
        assert may_stop.wait(10)
        runs.append(1)
        periodic.stop_thread()

    periodic.start_thread(job)
    (thread,) = cleanup_threads()
    may_stop.set()
    thread.join(10)
    assert (thread.is_alive(), runs) == (False, [1])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_escapes_a_job_in_a_thread_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: reported.append(arguments.exc_value))
    error, may_fail = KeyError("a fault of the job"), threading.Event()

    def job() -> None:
        assert may_fail.wait(10)
        raise error

    periodic = Periodic(SOON)
    periodic.start_thread(job)
    (thread,) = cleanup_threads()
    may_fail.set()
    thread.join(10)
    periodic.stop_thread()
    assert reported == [error]


def test_a_task_repeats_its_job_until_stopped() -> None:
    async def main() -> None:
        enough = asyncio.Event()
        runs, job = counter(enough.set)

        async def awaited() -> None:
            job()

        periodic = Periodic(SOON)
        periodic.start_task(awaited)
        await asyncio.wait_for(enough.wait(), 10)
        await periodic.stop_task()
        assert len(asyncio.all_tasks()) == 1
        assert len(runs) >= 3

    asyncio.run(main())


def test_a_task_waits_one_interval_before_its_first_run_and_stops_at_once() -> None:
    async def main() -> list[int]:
        runs: list[int] = []

        async def job() -> None:
            runs.append(1)

        periodic = Periodic(NEVER)
        periodic.start_task(job)
        await asyncio.sleep(0)
        await periodic.stop_task()
        await periodic.stop_task()
        assert len(asyncio.all_tasks()) == 1
        return runs

    assert asyncio.run(main()) == []


def test_stopping_a_task_cancels_the_running_job_and_waits_for_its_end() -> None:
    async def main() -> list[str]:
        begun, steps = asyncio.Event(), list[str]()

        async def job() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                steps.append("job ended")

        periodic = Periodic(SOON)
        periodic.start_task(job)
        await asyncio.wait_for(begun.wait(), 10)
        await periodic.stop_task()
        return [*steps, "stopped"]

    assert asyncio.run(main()) == ["job ended", "stopped"]


def test_a_job_may_stop_its_own_task() -> None:
    async def main() -> list[str]:
        periodic, steps = Periodic(SOON), list[str]()
        ended = asyncio.Event()

        async def job() -> None:
            await periodic.stop_task()
            await asyncio.sleep(0)
            steps.append("job went on to its end")
            ended.set()

        periodic.start_task(job)
        await asyncio.wait_for(ended.wait(), 10)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        return steps

    assert asyncio.run(main()) == ["job went on to its end"]


def test_an_error_that_escapes_a_job_in_a_task_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        failed = asyncio.Event()

        async def job() -> None:
            failed.set()
            raise KeyError("a fault of the job")

        periodic = Periodic(SOON)
        periodic.start_task(job)
        await asyncio.wait_for(failed.wait(), 10)
        await periodic.stop_task()

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(main())
    assert "Task exception was never retrieved" in caplog.text
    assert "a fault of the job" in caplog.text


def test_the_caller_of_stop_may_be_cancelled_while_waiting() -> None:
    async def main() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def job() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                await may_end.wait()

        periodic = Periodic(SOON)
        periodic.start_task(job)
        await begun.wait()
        stopper = asyncio.create_task(periodic.stop_task())
        await asyncio.sleep(0.01)
        stopper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopper
        may_end.set()
        await periodic.stop_task()

    asyncio.run(main())


def test_a_task_may_be_stopped_from_another_loop() -> None:
    periodic, cancelled = Periodic(NEVER), threading.Event()
    started, may_end = threading.Event(), threading.Event()

    async def job() -> None: ...

    async def main() -> None:
        periodic.start_task(job)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        task.add_done_callback(lambda done: cancelled.set() if done.cancelled() else None)
        await asyncio.sleep(0)  # the task waits for its first run
        started.set()
        await asyncio.to_thread(may_end.wait, 10)

    other = threading.Thread(target=lambda: asyncio.run(main()))
    other.start()
    assert started.wait(10)
    asyncio.run(periodic.stop_task())
    assert cancelled.wait(10)
    may_end.set()
    other.join(10)


def test_a_task_whose_loop_was_closed_may_be_stopped() -> None:
    periodic = Periodic(NEVER)

    async def job() -> None: ...

    async def begin() -> None:
        periodic.start_task(job)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(periodic.stop_task())


def test_stopping_what_never_started_does_nothing() -> None:
    periodic = Periodic(SOON)
    periodic.stop_thread()
    asyncio.run(periodic.stop_task())
