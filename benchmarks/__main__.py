"""`python -m benchmarks [BACKEND…] [--sizes 10,1000,10000] [--rounds 5]`: run the benchmarks and print the ratios.

Redis and DynamoDB start a server, or take the one at `--url`. With a latency every answer of it is late by so much, as
from a server that is elsewhere and serves many at once.
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

from benchmarks.measure import measure
from benchmarks.report import tell

EMBEDDED = ("memory", "sqlite")
SERVED = ("redis", "dynamodb")


def main() -> None:
    arguments = _arguments()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")
    print(f"cold import of SessionManager: {_cold_import():.0f} ms of CPU, interpreter included; goal: ≤ 250 ms")
    if arguments.latency:
        print(f"every answer is late by {arguments.latency:g} ms")
    print("in brackets: the ratio to the limit line, the median of the rounds")
    for backend in arguments.backends:
        for size in arguments.sizes:
            asyncio.run(_run(backend, size, arguments))


async def _run(backend: str, size: int, arguments: argparse.Namespace) -> None:
    contests = import_module(f"benchmarks.contests.{backend}").contests
    async with contests(arguments.url, arguments.latency) as held:
        for contest in held:
            tell(contest, await measure(contest, messages=size, rounds=arguments.rounds), size)


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
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[10, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="a running server, for one BACKEND that has one")
    parser.add_argument("--latency", type=float, default=0, metavar="MS")
    arguments = parser.parse_args()
    arguments.backends = arguments.backends or EMBEDDED
    if unknown := set(arguments.backends) - {*EMBEDDED, *SERVED}:
        parser.error(f"no benchmark for {', '.join(sorted(unknown))}")
    if (arguments.url or arguments.latency) and (len(arguments.backends) > 1 or arguments.backends[0] not in SERVED):
        parser.error(f"--url and --latency go with one of {', '.join(SERVED)}")
    return arguments


if __name__ == "__main__":
    main()
