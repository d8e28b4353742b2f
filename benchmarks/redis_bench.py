"""`python -m benchmarks.redis_bench [URL] [--sizes 10,1000,10000] [--rounds 5]`: the Redis store against redis-py by
hand, sync and asyncio, interleaved in one run. Without a URL it starts a redis-server of its own, unpersistent."""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice

import redis

from benchmarks.conversation import texts
from benchmarks.lines.redis import AsyncRedisLine, RedisLine
from benchmarks.measure import OPERATIONS, measure
from benchmarks.subject import ManagerSubject, StoreSubject
from session_continuity import AsyncSessionManager, open_storage

GOALS = {"append": 1.5, "last 20": 1.7, "all": 1.7}
ASYNC_GOALS = {"append": 1.3}
CALLS = {"append": 300, "last 20": 200, "all": 5}

Call = Callable[[], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.redis_bench", description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[10, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, redis-py {redis.__version__}, {platform.machine()}")
    print("CPU time of the client as a ratio to redis-py by hand in the same run; in brackets, microseconds")
    for size in arguments.sizes:
        for run in (_blocking, _asyncio):
            with _server(arguments.url) as url:
                run(url, size, arguments.rounds)


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("no redis-server on PATH: install one, or name a URL")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        try:
            retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
            with redis.Redis(port=port, retry=retry) as client:
                client.ping()
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _blocking(url: str, size: int, rounds: int) -> None:
    subjects = [
        RedisLine(url),
        StoreSubject(open_storage(f"{url}?namespace=store")),
        ManagerSubject(open_storage(f"{url}?namespace=manager")),
    ]
    result = measure(subjects, messages=size, rounds=rounds)
    print(f"\nsync, N={size}")
    for operation in OPERATIONS:
        ratios = ", ".join(f"{s.name} {result.ratio(s.name, 'redis-py', operation):.2f}x" for s in subjects[1:])
        _tell(operation, ratios, result.microseconds["redis-py", operation], GOALS)
    for subject in subjects:
        subject.close()


def _asyncio(url: str, size: int, rounds: int) -> None:
    RedisLine(url).fill("main", size)
    samples = asyncio.run(_interleaved(url, size, rounds))
    print(f"asyncio, N={size}")
    for operation in CALLS:
        line, manager = (statistics.median(samples[name, operation]) for name in ("line", "manager"))
        _tell(operation, f"manager {manager / line:.2f}x", line, ASYNC_GOALS)


async def _interleaved(url: str, size: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    line = AsyncRedisLine(url)
    samples: dict[tuple[str, str], list[float]] = {}
    async with AsyncSessionManager.open(f"{url}?namespace=async") as manager:
        await manager.create_session(id="main")
        talk = list(islice(texts(), size))
        for start in range(0, size, 200):
            turn = [{"role": role, "content": text} for role, text in talk[start : start + 200]]
            await manager.add_messages("main", turn)
        number = count()

        def next_text() -> str:
            return talk[next(number) % len(talk)][1]

        subjects: dict[str, tuple[Call, ...]] = {
            "line": (
                lambda: line.append("main", "user", next_text()),
                lambda: line.last_20("main"),
                lambda: line.all("main"),
            ),
            "manager": (
                lambda: manager.add_message("main", role="user", content=next_text()),
                lambda: manager.get_messages("main", order="desc", limit=20),
                lambda: manager.get_messages("main"),
            ),
        }
        for turn_number in range(rounds):
            for name in sorted(subjects, reverse=turn_number % 2 == 1):
                for operation, call in zip(CALLS, subjects[name], strict=True):
                    samples.setdefault((name, operation), []).append(await _timed(call, CALLS[operation]))
    await line.close()
    return samples


async def _timed(call: Call, times: int) -> float:
    await call()
    gc.collect()
    gc.disable()
    started = time.process_time()
    for _ in range(times):
        await call()
    spent = time.process_time() - started
    gc.enable()
    return spent / times * 1e6


def _tell(operation: str, ratios: str, microseconds: float, goals: dict[str, float]) -> None:
    goal = f"   goal: ≤ {goals[operation]:g}x" if operation in goals else ""
    print(f"  {operation:9} {ratios} [{microseconds:.0f}]{goal}")


if __name__ == "__main__":
    main()
