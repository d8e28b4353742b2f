"""Fixtures of the DynamoDB tests: engines for the run, stores on them in both modes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from session_continuity import Mode

from .bench import Bench
from .engines import Engine, MissingEngineError, Name, names, running

TABLE = "conversations"

Engines = Callable[[Name], Engine]


@pytest.fixture(scope="session", autouse=True)
def _identity() -> Iterator[None]:
    """An identity that the engines take, and no look at this machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Starts each engine at most once."""
    started: dict[Name, Engine] = {}
    with ExitStack() as stack:

        def engine(name: Name) -> Engine:
            if name not in started:
                try:
                    started[name] = stack.enter_context(running(name))
                except MissingEngineError as missing:
                    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(missing))
            return started[name]

        yield engine


@pytest.fixture(scope="session")
def judge(engines: Engines) -> Engine:
    """The engine whose atomicity and figures can be trusted."""
    return engines("local")


@pytest.fixture(params=names())
def each_engine(request: pytest.FixtureRequest, engines: Engines) -> Engine:
    return engines(request.param)


@pytest.fixture(params=["blocking", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def bench(judge: Engine, mode: Mode) -> Iterator[Bench]:
    """Stores on the judge, in both modes."""
    held = Bench(judge, mode, TABLE)
    yield held
    held.close()


@pytest.fixture
def quick(judge: Engine) -> Iterator[Bench]:
    """Stores on the judge in blocking mode, for what does not depend on the mode."""
    held = Bench(judge, "blocking", TABLE)
    yield held
    held.close()


@pytest.fixture
def tasks(judge: Engine) -> Iterator[Bench]:
    """Stores on the judge in async mode, for what only tasks can do."""
    held = Bench(judge, "async", TABLE)
    yield held
    held.close()


@pytest.fixture
def anywhere(each_engine: Engine, mode: Mode) -> Iterator[Bench]:
    """Stores on every engine, in both modes."""
    held = Bench(each_engine, mode, TABLE)
    yield held
    held.close()
