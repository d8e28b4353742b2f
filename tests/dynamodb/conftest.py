"""Fixtures of the DynamoDB tests. A test says with `@pytest.mark.on(engine=..., mode=...)` where it runs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from session_continuity import Mode, StorageAdapter

from ..kit.dynamodb_engines import IDENTITY, Engine, EngineName, MissingEngineError, run_engine
from ..kit.dynamodb_proxy import DynamoDBProxy, proxy_to
from ..kit.missing import skip_test
from .bench import Bench

settings.register_profile("dynamodb", deadline=None)
settings.load_profile("dynamodb")

StartEngine = Callable[[EngineName], Engine]


@pytest.fixture(scope="session", autouse=True)
def _identity() -> Iterator[None]:
    """Credentials that the engines accept, instead of those of this machine's user."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def start_engine() -> Iterator[StartEngine]:
    """Starts an engine when it is needed for the first time; all tests of the run share it."""
    started: dict[EngineName, Engine] = {}
    with ExitStack() as stack:

        def start(name: EngineName) -> Engine:
            if name not in started:
                try:
                    started[name] = stack.enter_context(run_engine(name))
                except MissingEngineError as missing:
                    skip_test(str(missing))
            return started[name]

        yield start


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, start_engine: StartEngine) -> Engine:
    """One of the engines that the test's marker `on` lists."""
    return start_engine(request.param)


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> Mode:
    """One of the modes that the test's marker `on` lists."""
    mode: Mode = request.param
    return mode


@pytest.fixture
def bench(engine: Engine, mode: Mode) -> Iterator[Bench]:
    """Opens stores on the engine in the mode."""
    opened = Bench(engine, mode)
    yield opened
    opened.close()


@pytest.fixture
def store(bench: Bench) -> StorageAdapter:
    """A store on the engine."""
    return bench.open()


@pytest.fixture
def proxy(bench: Bench) -> Iterator[DynamoDBProxy]:
    """A proxy in front of the engine."""
    with proxy_to(bench.engine.url) as held:
        yield held


_tables = itertools.count()


@pytest.fixture
def shared(bench: Bench) -> Iterator[Bench]:
    """A bench without a namespace, whose formats are the kit's, on a table of its own."""
    bench.namespace = ""
    bench.table = f"shared-{next(_tables)}"
    yield bench
    bench.raw("delete_table")
