"""CPU time per operation, interleaved: in each round every subject does every operation, forwards in one round and
backwards in the next, so that a disturbance hits all alike. The result is the median round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from benchmarks.conversation import texts
from benchmarks.subject import Subject

SECONDS_A_SAMPLE = 0.02
OPERATIONS = ("append", "last 20", "all", "update", "delete", "list 100")


@dataclass(frozen=True)
class Result:
    """Microseconds of CPU an operation took, by subject and operation, at one size."""

    messages: int
    microseconds: dict[tuple[str, str], float]

    def ratio(self, subject: str, line: str, operation: str) -> float:
        return self.microseconds[subject, operation] / self.microseconds[line, operation]


def measure(subjects: Sequence[Subject], *, messages: int, rounds: int) -> Result:
    """Fill every subject with conversations of so many messages and time every operation on them."""
    for subject in subjects:
        for number in range(100):
            subject.fill(f"listed-{number}", 1)
        subject.fill("main", messages)
        subject.fill("growing", messages)
    samples: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds):
        for subject in subjects if turn % 2 == 0 else reversed(subjects):
            subject.fill(doomed := f"doomed-{turn}", messages)
            for operation, call in operations(subject, doomed).items():
                sample = _once(call) if operation == "delete" else _repeated(call)
                samples.setdefault((subject.name, operation), []).append(sample)
    return Result(messages, {key: statistics.median(values) for key, values in samples.items()})


def operations(subject: Subject, doomed: str) -> dict[str, Callable[[], object]]:
    """A call of every operation; the one that deletes takes the messages of `doomed`."""
    talk = list(islice(texts(), 64))
    position = iter(range(1 << 60))

    def append() -> object:
        role, text = talk[next(position) % len(talk)]
        return subject.append("growing", role, text)

    calls: tuple[Callable[[], object], ...] = (
        append,
        lambda: subject.last_20("main"),
        lambda: subject.all("main"),
        lambda: subject.update("main", talk[next(position) % len(talk)][1]),
        lambda: subject.delete(doomed),
        subject.list_100,
    )
    return dict(zip(OPERATIONS, calls, strict=True))


def _once(call: Callable[[], object]) -> float:
    with without_collector():
        started = time.process_time()
        call()
        return (time.process_time() - started) * 1e6


def _repeated(call: Callable[[], object]) -> float:
    call()
    with without_collector():
        count, started = 0, time.process_time()
        while (spent := time.process_time() - started) < SECONDS_A_SAMPLE:
            call()
            count += 1
        return spent / count * 1e6


@contextmanager
def without_collector() -> Iterator[None]:
    """A full collection walks everything the benchmark itself keeps alive, and would fall on one subject by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
