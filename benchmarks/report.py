"""What a contest came to, for people: one row for each operation of each subject."""

from __future__ import annotations

from benchmarks.measure import OPERATIONS, Contest, Result

GOALS = {
    "memory": {"append": "CPU ≤ 15"},
    "sqlite": {"append": "CPU ≤ 4", "last 20": "CPU ≤ 2", "all": "CPU ≤ 1.5"},
    "redis": {"append": "CPU ≤ 1.5", "last 20": "CPU ≤ 1.7", "all": "CPU ≤ 1.7"},
    "redis asyncio": {"append": "CPU ≤ 1.3"},
    "dynamodb": {
        "append": "CPU ≤ 1.3",
        "last 20": "CPU ≤ 0.8",
        "all": "CPU ≤ 0.5",
        "delete": "wall ≤ 0.4 with --latency 20",
    },
}
"""What the store is to take of what the limit line takes."""


def tell(contest: Contest, result: Result, messages: int) -> None:
    line, *_ = (subject.name for subject in contest.subjects)
    counted = list(next(iter(result.costs.values()), {}))
    print(f"\n{contest.name}, N = {messages:,} (limit line: {contest.line})")
    print(f"{'':24}{''.join(f'{heading:>10}' for heading in counted)}{'CPU µs (ratio)':>22}{'wall µs (ratio)':>22}")
    for operation in OPERATIONS:
        for name in (subject.name for subject in contest.subjects):
            costs = "".join(f"{result.costs[name, operation][heading]:10,.1f}" for heading in counted)
            times = "".join(f"{_cell(result, name, line, operation, kind):>22}" for kind in ("cpu", "wall"))
            goal = GOALS[contest.name].get(operation) if name == line else None
            print(f"{operation:10}{name:14}{costs}{times}{'' if goal is None else f'   goal: {goal}'}")


def _cell(result: Result, name: str, line: str, operation: str, kind: str) -> str:
    return f"{result.median(name, operation, kind):,.1f} ({result.ratio(name, line, operation, kind):.2f})"
