"""CPU and wall time per operation, interleaved: in each round every subject does every operation, forwards in one round
and backwards in the next, so that a disturbance hits all alike, and each is compared with the limit line of its round.

One event loop holds everything; blocking subjects run in it as they would in any thread.
"""

from __future__ import annotations

import gc
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from benchmarks.conversation import texts
from benchmarks.subject import Subject

SECONDS_A_SAMPLE = 0.1
OPERATIONS = ("append", "last 20", "context", "all", "update", "delete", "list 100")

Call = Callable[[], Any]
Cost = dict[str, float]


class Meter(Protocol):
    """Counts what one call asks of a service; the keys are headings of the report."""

    async def cost(self, call: Call) -> Cost: ...


@dataclass(frozen=True)
class Contest:
    """Who is compared with what: the limit line first, of which `line` says what it is."""

    name: str
    line: str
    subjects: list[Subject]
    meter: Callable[[Any], Meter] | None = None


@dataclass(frozen=True)
class Sample:
    """What one operation took, in microseconds."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Result:
    """Samples by subject and operation, one a round, and costs where they are counted."""

    samples: dict[tuple[str, str], list[Sample]]
    costs: dict[tuple[str, str], Cost]

    def median(self, subject: str, operation: str, kind: str) -> float:
        values: list[float] = [getattr(sample, kind) for sample in self.samples[subject, operation]]
        return statistics.median(values)

    def ratio(self, subject: str, line: str, operation: str, kind: str) -> float:
        pairs = zip(self.samples[subject, operation], self.samples[line, operation], strict=True)
        ratios: list[float] = [getattr(mine, kind) / getattr(limit, kind) for mine, limit in pairs]
        return statistics.median(ratios)


async def measure(contest: Contest, *, messages: int, rounds: int) -> Result:
    """Fill every subject with conversations of so many messages, and time every operation on them."""
    for subject in contest.subjects:
        for number in range(100):
            await finished(subject.fill(f"listed-{number}", 0))
        for session in ("main", "growing"):
            await finished(subject.fill(session, messages))
    samples: dict[tuple[str, str], list[Sample]] = {}
    for turn in range(rounds):
        for subject in contest.subjects if turn % 2 == 0 else reversed(contest.subjects):
            await finished(subject.fill(doomed := f"doomed-{turn}", messages))
            for operation, call in _operations(subject, doomed).items():
                sample = await _timed(call, awaited=subject.awaited, once=operation == "delete")
                samples.setdefault((subject.name, operation), []).append(sample)
    return Result(samples, await _costs(contest, messages))


async def finished(answer: Any) -> Any:
    """What an operation gave, awaited where it is still to be."""
    return await answer if inspect.isawaitable(answer) else answer


async def _costs(contest: Contest, messages: int) -> dict[tuple[str, str], Cost]:
    """Counted in calls of their own, because counting takes time."""
    costs: dict[tuple[str, str], Cost] = {}
    if contest.meter is None:
        return costs
    for subject in contest.subjects:
        await finished(subject.fill("counted", messages))
        meter = contest.meter(subject)
        for operation, call in _operations(subject, "counted").items():
            costs[subject.name, operation] = await meter.cost(call)
    return costs


def _operations(subject: Subject, doomed: str) -> dict[str, Call]:
    """A call of every operation; the one that deletes takes the messages of `doomed`."""
    talk = list(islice(texts(), 64))
    position = iter(range(1 << 60))

    def append() -> Any:
        role, text = talk[next(position) % len(talk)]
        return subject.append("growing", role, text)

    calls: tuple[Call, ...] = (
        append,
        lambda: subject.last_20("main"),
        lambda: subject.context("main"),
        lambda: subject.all("main"),
        lambda: subject.update("main", talk[next(position) % len(talk)][1]),
        lambda: subject.delete(doomed),
        subject.list_100,
    )
    return dict(zip(OPERATIONS, calls, strict=True))


async def _timed(call: Call, *, awaited: bool, once: bool) -> Sample:
    """The mean of as many calls as fit the time of a sample, after one that warms up; of one where it cannot be
    repeated."""
    if not once:
        await finished(call())
    with _without_collector():
        count = 0
        started, cpu = time.perf_counter(), time.process_time()
        while count == 0 or (not once and time.perf_counter() - started < SECONDS_A_SAMPLE):
            answer = call()
            if awaited:
                await answer
            count += 1
        spent, passed = time.process_time() - cpu, time.perf_counter() - started
    return Sample(spent / count * 1e6, passed / count * 1e6)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A full collection walks everything the benchmark itself keeps alive, and would fall on one subject by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
