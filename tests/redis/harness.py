"""Redis for the conformance suite: `session-continuity conformance --harness tests.redis.harness:server`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..missing import not_proved
from .clusters import Cluster
from .servers import NEEDED, Server, engines


@contextmanager
def server() -> Iterator[str | list[str]]:
    """One server, which writes every command down."""
    program = next(iter(engines().values()), None)
    if program is None:
        yield not_proved(f"redis: {NEEDED}")
        return
    with TemporaryDirectory() as folder:
        running = Server(program, Path(folder), "--appendonly", "yes").start()
        try:
            yield running.url
        finally:
            running.stop()


@contextmanager
def cluster() -> Iterator[str | list[str]]:
    """Three primaries that share the slots."""
    program = next(iter(engines().values()), None)
    if program is None:
        yield not_proved(f"redis+cluster: {NEEDED}")
        return
    with TemporaryDirectory() as folder:
        running = Cluster(program, Path(folder)).start()
        try:
            yield running.url
        finally:
            running.stop()
