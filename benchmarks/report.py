"""Prints the result of a comparison: one row for each operation of each subject."""

from __future__ import annotations

from benchmarks.measure import Comparison, Result
from benchmarks.subjects.subject import OPERATIONS

GOALS = {
    "memory": {"append": "CPU ≤ 15"},
    "sqlite": {"append": "CPU ≤ 4", "last 20": "CPU ≤ 2.5", "all": "CPU ≤ 1.5", "list 100": "CPU ≤ 4"},
    "redis": {"append": "CPU ≤ 2.5", "last 20": "CPU ≤ 2.5", "all": "CPU ≤ 2.5", "list 100": "CPU ≤ 4"},
    "redis asyncio": {"append": "CPU ≤ 2.5"},
    "postgres": {"append": "CPU ≤ 1.6", "last 20": "CPU ≤ 1.4", "all": "CPU ≤ 1.4", "list 100": "CPU ≤ 1.5"},
    "postgres asyncio": {"append": "CPU ≤ 1.4"},
    "dynamodb": {
        "append": "CPU ≤ 1.5",
        "last 20": "CPU ≤ 0.8",
        "all": "CPU ≤ 0.7",
        "delete": "wall ≤ 0.4 with --latency 20",
    },
}
"""What the store may take, as a ratio to the line."""


def print_result(comparison: Comparison, result: Result, count: int) -> None:
    """Print the table of one comparison."""
    line, *_ = (subject.name for subject in comparison.subjects)
    counted = list(next(iter(result.costs.values()), {}))
    print(f"\n{comparison.name}, N = {count:,} (line: {comparison.line})")
    print(f"{'':27}{''.join(f'{heading:>10}' for heading in counted)}{'CPU µs (ratio)':>22}{'wall µs (ratio)':>22}")
    for operation in OPERATIONS:
        for name in (subject.name for subject in comparison.subjects if operation in subject.operations):
            costs = "".join(f"{result.costs[name, operation][heading]:10,.1f}" for heading in counted)
            times = "".join(f"{_cell(result, name, line, operation, kind):>22}" for kind in ("cpu", "wall"))
            goal = GOALS[comparison.name].get(operation) if name == line else None
            print(f"{operation:10}{name:17}{costs}{times}{'' if goal is None else f'   goal: {goal}'}")


def _cell(result: Result, name: str, line: str, operation: str, kind: str) -> str:
    return f"{result.median(name, operation, kind):,.1f} ({result.ratio(name, line, operation, kind):.2f})"
