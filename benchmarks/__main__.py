"""`python -m benchmarks [BACKEND…] [--sizes 10,1000,10000] [--rounds 5] [--peers]`: measure, and print the ratios.

Redis, DynamoDB and PostgreSQL start a server, or use the one at `--url`. `--latency` delays every reply of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import subprocess
import sys
from importlib import import_module

from benchmarks.formats import print_costs
from benchmarks.measure import measure
from benchmarks.planning import print_planning
from benchmarks.report import print_result
from benchmarks.setup import Setup
from benchmarks.subjects.openai_agents import INSTALL, is_installed

EMBEDDED = ("memory", "sqlite")
SERVED = ("redis", "dynamodb", "postgres")
WITH_PEERS = ("sqlite", "redis", "postgres")


def main() -> None:
    """Run the benchmarks that the command line names."""
    arguments = _arguments()
    peers = bool(set(arguments.backends) & set(WITH_PEERS)) and is_installed()
    setup = Setup(arguments.url, arguments.latency, peers)
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")
    print(f"cold import of SessionManager: {_cold_import():.0f} ms of CPU, interpreter included; goal: ≤ 250 ms")
    print_costs(arguments.rounds)
    print_planning(arguments.rounds)
    if arguments.latency:
        print(f"every reply is delayed by {arguments.latency:g} ms")
    if not peers and set(arguments.backends) & set(WITH_PEERS):
        print(INSTALL)
    print("in brackets: the ratio to the line, the median of the rounds")
    for backend in arguments.backends:
        for size in arguments.sizes:
            asyncio.run(_run(backend, size, arguments.rounds, setup))


async def _run(backend: str, size: int, rounds: int, setup: Setup) -> None:
    open_comparisons = import_module(f"benchmarks.comparisons.{backend}").open_comparisons
    async with open_comparisons(setup) as comparisons:
        for comparison in comparisons:
            print_result(comparison, await measure(comparison, count=size, rounds=rounds), size)


def _cold_import() -> float:
    """The best of five fresh interpreters, in milliseconds."""
    command = [sys.executable, "-c", "from session_continuity import SessionManager"]
    spent: list[float] = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent) * 1000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    known = f"of {', '.join(EMBEDDED + SERVED)}; those without a server by default"
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=known)
    parser.add_argument(
        "--sizes", type=lambda text: [int(part) for part in text.split(",") if part], default=[10, 1000, 10000]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="a running server, for one BACKEND that has one")
    parser.add_argument("--latency", type=float, default=0, metavar="MS")
    parser.add_argument("--peers", action="store_true", help="fail if openai-agents is not installed")
    arguments = parser.parse_args()
    arguments.backends = arguments.backends or EMBEDDED
    if arguments.peers and not is_installed():
        parser.error("openai-agents is not installed: pip install 'openai-agents[redis,sqlalchemy]'")
    if unknown := set(arguments.backends) - {*EMBEDDED, *SERVED}:
        parser.error(f"no benchmark for {', '.join(sorted(unknown))}")
    if (arguments.url or arguments.latency) and (len(arguments.backends) > 1 or arguments.backends[0] not in SERVED):
        parser.error(f"--url and --latency go with one of {', '.join(SERVED)}")
    return arguments


if __name__ == "__main__":
    main()
