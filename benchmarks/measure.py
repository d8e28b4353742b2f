"""CPU and wall time for each operation, interleaved.

In each round every subject does every operation, forwards in one round and backwards in the next. So a disturbance hits
all of them, and each sample is compared with the line's sample of the same round. One event loop runs everything;
blocking subjects run in it as they would in any thread.
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

from benchmarks.conversation import messages
from benchmarks.subjects.subject import OPERATIONS, Subject

SECONDS_A_SAMPLE = 0.1

Call = Callable[[], Any]
Cost = dict[str, float]


class Meter(Protocol):
    """Counts what one call asks of a service. The keys of a cost are headings of the report."""

    async def cost(self, call: Call) -> Cost: ...


@dataclass(frozen=True)
class Comparison:
    """The subjects that are compared. The first one is the line; `line` describes it."""

    name: str
    line: str
    subjects: list[Subject]
    meter: Callable[[Any], Meter] | None = None


@dataclass(frozen=True)
class Sample:
    """The microseconds that one operation took."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Result:
    """Samples by subject and operation, one from each round, and costs if they are counted."""

    samples: dict[tuple[str, str], list[Sample]]
    costs: dict[tuple[str, str], Cost]

    def median(self, subject: str, operation: str, kind: str) -> float:
        """The median of the rounds."""
        values: list[float] = [getattr(sample, kind) for sample in self.samples[subject, operation]]
        return statistics.median(values)

    def ratio(self, subject: str, line: str, operation: str, kind: str) -> float:
        """The median of the ratios to the line in the same round."""
        pairs = zip(self.samples[subject, operation], self.samples[line, operation], strict=True)
        ratios: list[float] = [getattr(mine, kind) / getattr(limit, kind) for mine, limit in pairs]
        return statistics.median(ratios)


async def measure(comparison: Comparison, *, count: int, rounds: int) -> Result:
    """Fill every subject with conversations of so many messages, and time its operations on them."""
    for subject in comparison.subjects:
        if "list 100" in subject.operations:
            for number in range(100):
                await finish(subject.fill(f"listed-{number}", 0))
        for session in ("main", "growing"):
            await finish(subject.fill(session, count))
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(rounds):
        for subject in comparison.subjects if number % 2 == 0 else reversed(comparison.subjects):
            await finish(subject.fill(doomed := f"doomed-{number}", count))
            for operation, call in _calls(subject, doomed).items():
                sample = await _time(call, awaited=subject.awaited, once=operation == "delete")
                samples.setdefault((subject.name, operation), []).append(sample)
    return Result(samples, await _count_costs(comparison, count))


async def finish(result: Any) -> Any:
    """The result of an operation, awaited if it is an awaitable."""
    return await result if inspect.isawaitable(result) else result


async def _count_costs(comparison: Comparison, count: int) -> dict[tuple[str, str], Cost]:
    """The costs of separate calls, because counting takes time."""
    costs: dict[tuple[str, str], Cost] = {}
    if comparison.meter is None:
        return costs
    for subject in comparison.subjects:
        await finish(subject.fill("counted", count))
        meter = comparison.meter(subject)
        for operation, call in _calls(subject, "counted").items():
            costs[subject.name, operation] = await meter.cost(call)
    return costs


def _calls(subject: Subject, doomed: str) -> dict[str, Call]:
    """A call for each operation that the subject has. The one that deletes deletes `doomed`."""
    talk = list(islice(messages(), 64))
    position = iter(range(1 << 60))
    calls: tuple[Call, ...] = (
        lambda: subject.append("growing", talk[next(position) % len(talk)]),
        lambda: subject.last_20("main"),
        lambda: subject.context("main"),
        lambda: subject.all("main"),
        lambda: subject.update("main", talk[next(position) % len(talk)]["content"]),
        lambda: subject.delete(doomed),
        subject.list_100,
    )
    named = dict(zip(OPERATIONS, calls, strict=True))
    return {operation: named[operation] for operation in subject.operations}


async def _time(call: Call, *, awaited: bool, once: bool) -> Sample:
    """The mean of as many calls as fit the time of a sample, after one to warm up. With `once`, the time of one call:
    it cannot be repeated."""
    if not once:
        await finish(call())
    with _collector_at_rest():
        count = 0
        started, cpu = time.perf_counter(), time.process_time()
        while count == 0 or (not once and time.perf_counter() - started < SECONDS_A_SAMPLE):
            # No result is kept until the next one is there: that would measure the allocator.
            if awaited:
                await call()
            else:
                call()
            count += 1
        spent, passed = time.process_time() - cpu, time.perf_counter() - started
    return Sample(spent / count * 1e6, passed / count * 1e6)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep what the benchmark itself holds away from the garbage collector.

    A full collection would walk all of it, and would hit one subject by chance. The objects of a call are still
    collected: to create them is a part of its cost.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
