"""`python -m benchmarks.writers [--appends 50] [--rounds 3]`: many writers of one session, by the store and by hand.

16 writers in 4 processes append to one session of a PostgreSQL server that waits for its disk. The store and psycopg by
hand take turns on the same server. It prints the appends per second of each round, their ratio, and what of the store's
messages is lost, doubled or out of the order in which its writer was answered.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg
from tests.kit.postgres_servers import postgres_server

from benchmarks.subjects.by_hand import FASTEST
from benchmarks.subjects.postgres import TABLES, PostgresLine
from session_continuity import SessionManager

PROCESSES, THREADS = 4, 4
TEXT = "The invoice shows a second charge from the third of March. " * 8

Append = Callable[[str], Any]


def main() -> None:
    """Run the rounds, and print what they showed."""
    parser = argparse.ArgumentParser(prog="benchmarks.writers", description=__doc__)
    parser.add_argument("--appends", type=int, default=50, help="of each writer in a round")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with postgres_server(fsync="on") as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(TABLES)
        PostgresLine(connection, FASTEST).fill("shared", 0)
        with SessionManager.open(server.url) as manager:
            manager.create_session(id="shared")
        ratios: list[float] = []
        for number in range(asked.rounds):
            mine = measure(by_store, server.url, number, asked.appends)
            line = measure(by_hand, server.url, number, asked.appends)
            ratios.append(mine / line)
            print(f"round {number + 1}: store {mine:,.0f} appends/s, by hand {line:,.0f}, ratio {mine / line:.2f}")
        print(f"median ratio {statistics.median(ratios):.2f}; goal of the store: 900 appends/s, or 0.9")
        check(server.url, asked.rounds * asked.appends)


def by_store(url: str, append_all: Callable[[Append], None]) -> None:
    """Append with a manager, which a thread shares with the others of its process."""
    with SessionManager.open(f"{url}?max_connections={THREADS}") as manager:
        append_all(lambda text: manager.add_message("shared", "user", text, token_count=100))


def by_hand(url: str, append_all: Callable[[Append], None]) -> None:
    """Append with psycopg, a connection for each thread."""
    connections = threading.local()

    def append(text: str) -> None:
        if not hasattr(connections, "line"):
            connections.line = PostgresLine(psycopg.connect(url, autocommit=True), FASTEST)
        connections.line.append("shared", {"role": "user", "content": text})

    append_all(append)


def measure(way: Callable[[str, Callable[[Append], None]], None], url: str, number: int, appends: int) -> float:
    """The appends per second of all writers together, from the moment when all are connected."""
    context = get_context("spawn")
    start, end = context.Barrier(PROCESSES * THREADS + 1), context.Barrier(PROCESSES * THREADS + 1)
    arguments = [(way, url, f"{number}.{place}", appends, start, end) for place in range(PROCESSES)]
    processes = [context.Process(target=write, args=each) for each in arguments]
    for process in processes:
        process.start()
    start.wait(120)
    began = time.perf_counter()
    end.wait(600)
    spent = time.perf_counter() - began
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return PROCESSES * THREADS * appends / spent


def write(
    way: Callable[[str, Callable[[Append], None]], None],
    url: str,
    name: str,
    appends: int,
    start: Barrier,
    end: Barrier,
) -> None:
    """The writers of one process. Each appends once before the start, so that all are connected."""

    def append_all(append: Append) -> None:
        def one(writer: str) -> None:
            append(f"{writer} warm {TEXT}")
            start.wait(120)
            for place in range(appends):
                append(f"{writer} {place} {TEXT}")
            end.wait(600)

        threads = [threading.Thread(target=one, args=(f"{name}.{thread}",)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    way(url, append_all)


def check(url: str, of_each_place: int) -> None:
    """Print what of the store's messages is lost, doubled or out of order."""
    with SessionManager.open(url) as manager:
        words = [str(message.content).split(" ", 2)[:2] for message in manager.iter_messages("shared")]
        total = manager.get_session("shared").message_count
    said = [(writer, int(place)) for writer, place in words if place != "warm"]
    last: dict[str, int] = {}
    disordered = 0
    for writer, place in said:
        disordered += place < last.get(writer, -1)
        last[writer] = place
    lost = PROCESSES * THREADS * of_each_place - len(set(said))
    print(f"lost {lost}, doubled {len(said) - len(set(said))}, out of order {disordered}, total {total == len(words)}")


if __name__ == "__main__":
    main()
