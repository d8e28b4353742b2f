"""Fixtures of the PostgreSQL tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from session_continuity import Registry, StorageAdapter, innermost, utc_now
from session_continuity_postgres import PostgresStorage

from ..kit.conversations import Speaker
from ..kit.missing import skip_test
from ..kit.modes import MODES, ModeRunner
from ..kit.postgres_servers import MissingServerError, PostgresServer, pgbouncer, postgres_server

T = TypeVar("T")

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """One server for the whole run. A test keeps to its namespace or its schema."""
    try:
        with postgres_server() as running:
            yield running
    except MissingServerError as missing:
        skip_test(str(missing))


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server for one test, which writes to the disk."""
    try:
        with postgres_server(fsync="on") as running:
            yield running
    except MissingServerError as missing:
        skip_test(str(missing))


@pytest.fixture(scope="module")
def bouncer(server: PostgresServer) -> Iterator[str]:
    """The URL of a PgBouncer before the server."""
    try:
        with pgbouncer(server) as url:
            yield url
    except MissingServerError as missing:
        skip_test(str(missing))


@pytest.fixture
def namespace() -> str:
    """A namespace, or schema, that no other test uses."""
    return f"test{next(_numbers)}"


class Bench:
    """One store and the shortest way to use it: `bench(coroutine)` runs a call of the store in its mode.

    `store` is what an application uses, `driver` the plugin's own adapter inside it.
    """

    def __init__(self, url: str, runner: ModeRunner) -> None:
        self.runner = runner
        self.mode = runner.mode
        self.store: StorageAdapter = Registry().create(url, runner.mode)
        found = innermost(self.store)
        assert isinstance(found, PostgresStorage)
        self.driver = found
        self.speaker = Speaker(clock=utc_now)
        self(self.store.setup())

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def close(self) -> None:
        """Close the store."""
        self(self.store.close())


@pytest.fixture(params=MODES)
def runner(request: pytest.FixtureRequest) -> Iterator[ModeRunner]:
    """Runs coroutines in each mode."""
    made = ModeRunner(request.param)
    yield made
    made.close()


@pytest.fixture
def opened(runner: ModeRunner) -> Iterator[Callable[[str], Bench]]:
    """Opens stores by their URLs, each set up, and closes them at the end."""
    benches: list[Bench] = []

    def open_at(url: str) -> Bench:
        benches.append(Bench(url, runner))
        return benches[-1]

    yield open_at
    for each in benches:
        each.close()


@pytest.fixture
def bench(server: PostgresServer, namespace: str, opened: Callable[[str], Bench]) -> Bench:
    """A store on the server, in each mode."""
    return opened(f"{server.url}?namespace={namespace}")
