"""Fixtures of the Redis tests: a server for the run, stores on it in both modes, and a namespace for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from session_continuity import Mode

from .servers import NEEDED, Proxy, Server, engines
from .stores import Bench

_numbers = itertools.count()
_found = engines()

MakeServer = Callable[..., Server]


@pytest.fixture(scope="session", params=sorted(_found) or ["none"])
def engine(request: pytest.FixtureRequest) -> str:
    """The program of each engine found."""
    if request.param == "none":
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NEEDED)
    return _found[request.param]


@pytest.fixture(scope="session")
def one_engine() -> str:
    """The program of one engine, where one is enough."""
    if not _found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NEEDED)
    return next(iter(_found.values()))


@pytest.fixture(scope="session")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(engine, tmp_path_factory.mktemp("redis"), "--appendonly", "yes").start()
    yield running
    running.stop()


@pytest.fixture(params=["blocking", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def namespace() -> str:
    return f"test{next(_numbers)}"


@pytest.fixture
def bench(server: Server, mode: Mode, namespace: str) -> Iterator[Bench]:
    """A store on the server in this mode."""
    opened = Bench(f"{server.url}?namespace={namespace}", mode)
    yield opened
    opened.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    between = Proxy(server.port)
    yield between
    between.close()


@pytest.fixture
def make_server(one_engine: str, tmp_path: Path) -> Iterator[MakeServer]:
    """Starts servers for one test."""
    started: list[Server] = []

    def make(*settings: str) -> Server:
        started.append(Server(one_engine, tmp_path / str(len(started)), *settings).start())
        return started[-1]

    yield make
    for each in started:
        each.stop()
