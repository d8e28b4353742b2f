"""Fixtures of the Redis tests. A test says with `@pytest.mark.on(engine=..., mode=...)` where it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from session_continuity import Mode

from ..kit.missing import skip_test
from ..kit.redis_cluster import Cluster
from ..kit.redis_proxy import RedisProxy
from ..kit.redis_servers import NEEDED, Server, find_engines
from .stores import Bench

_numbers = itertools.count()
_programs = find_engines()

MakeServer = Callable[..., Server]


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The program of one of the engines that the test's marker `on` lists."""
    return _programs.get(request.param) or skip_test(NEEDED)


@pytest.fixture(scope="session")
def one_engine() -> str:
    """The program of one engine, for tests that start servers of their own."""
    return next(iter(_programs.values()), None) or skip_test(NEEDED)


@pytest.fixture(scope="session")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole run. A test keeps to its namespace."""
    running = Server(engine, tmp_path_factory.mktemp("redis"), "--appendonly", "yes").start()
    yield running
    running.stop()


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> Mode:
    """One of the modes that the test's marker `on` lists."""
    mode: Mode = request.param
    return mode


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test{next(_numbers)}"


@pytest.fixture
def bench(server: Server, mode: Mode, namespace: str) -> Iterator[Bench]:
    """A store on the server in the mode."""
    opened = Bench(f"{server.url}?namespace={namespace}", mode)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for the tests of one module. A test keeps to its namespace."""
    running = Cluster(engine, tmp_path_factory.mktemp("cluster")).start()
    yield running
    running.stop()


@pytest.fixture
def clustered(shared: Cluster, mode: Mode, namespace: str) -> Iterator[Bench]:
    """A store on the cluster in the mode."""
    opened = Bench(f"{shared.url}&namespace={namespace}", mode)
    yield opened
    opened.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[RedisProxy]:
    """A proxy in front of the server."""
    between = RedisProxy(server.port)
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
