"""`backoff` and `retry_delays`: how many attempts there are, how long the pauses are, and when they end."""

from __future__ import annotations

import asyncio
import inspect
from itertools import islice
from typing import get_args

import pytest

from session_continuity import Mode, backoff, retry_delays, run_now, sleeper

LONG = 3600.0


class Sleeps:
    """A sleep that only records."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def attempts(sleep: Sleeps, *, stop_at: int = 1000, deadline: float = LONG, min_attempts: int = 3) -> list[int]:
    made: list[int] = []
    async for attempt in backoff(sleep, deadline=deadline, first=0.01, longest=0.5, min_attempts=min_attempts):
        made.append(attempt)
        if attempt == stop_at:
            break
    return made


def test_attempts_are_numbered_from_one() -> None:
    assert run_now(attempts(Sleeps(), stop_at=4)) == [1, 2, 3, 4]


def test_the_first_attempt_is_made_at_once_and_each_other_after_one_pause() -> None:
    sleep = Sleeps()
    run_now(attempts(sleep, stop_at=1))
    assert sleep.seconds == []
    run_now(attempts(sleep, stop_at=5))
    assert len(sleep.seconds) == 4


def test_the_bound_of_a_pause_doubles_up_to_the_longest() -> None:
    bounds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, *[0.5] * 94]
    pauses = [list(islice(retry_delays(deadline=LONG, first=0.01, longest=0.5), len(bounds))) for _ in range(50)]
    for bound, drawn in zip(bounds, zip(*pauses, strict=True), strict=True):
        assert 0 <= min(drawn) <= max(drawn) <= bound
        assert max(drawn) > bound / 2, "50 draws between 0 and the bound are not all in the lower half"


def test_attempts_without_end_have_a_bounded_pause() -> None:
    *_, last = islice(retry_delays(deadline=LONG, first=0.01, longest=0.5), 5000)
    assert 0 <= last <= 0.5


@pytest.mark.parametrize("least", [1, 2, 7])
def test_a_deadline_that_is_past_still_gives_the_least_number_of_attempts(least: int) -> None:
    assert run_now(attempts(Sleeps(), deadline=-1, min_attempts=least)) == list(range(1, least + 1))


@pytest.mark.parametrize("mode", get_args(Mode))
def test_it_ends_in_both_modes(mode: Mode) -> None:
    async def count() -> int:
        return [attempt async for attempt in backoff(sleeper(mode), deadline=0.02, first=0.001)][-1]

    assert (asyncio.run(count()) if mode == "async" else run_now(count())) >= 3


def test_a_loop_left_early_leaves_nothing_for_an_event_loop_to_close() -> None:
    assert not inspect.isasyncgen(backoff(Sleeps(), deadline=LONG))
