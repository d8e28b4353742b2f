"""Fixtures of the agents' tests: a fresh namespace on a real store, on each of the four where a test does not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ..kit import harnesses
from ..kit.missing import skip_test

STORES = ("memory", "sqlite", "redis", "dynamodb")


def pytest_configure(config: pytest.Config) -> None:
    """ChatKit warns of its own classes when it is imported."""
    config.addinivalue_line("filterwarnings", "ignore:Direct usage of named widget classes:DeprecationWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `url` runs on every store, if no marker `on(url=…)` says otherwise."""
    stated = any("url" in marker.kwargs for marker in metafunc.definition.iter_markers("on"))
    if "url" in metafunc.fixturenames and not stated:
        metafunc.parametrize("url", STORES, indirect=True)


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """No framework reports to its vendor, and no URL of the surroundings is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
        patch.setenv("LANGSMITH_TRACING", "false")
        patch.delenv("SESSION_CONTINUITY_URL", raising=False)
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis server."""
    with harnesses.redis() as found:
        yield found if isinstance(found, str) else skip_test("these tests need a Redis server: install redis-server")


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[str]:
    """The URL of a table in DynamoDB Local."""
    with harnesses.dynamodb() as found:
        yield found if isinstance(found, str) else skip_test("these tests need DynamoDB Local: install Java and npm")


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    fresh = uuid4().hex
    if request.param == "memory":
        return f"memory://{fresh}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chats.db"
    server: str = request.getfixturevalue(f"{request.param}_server")
    return f"{server}{'&' if '?' in server else '?'}namespace={fresh}"
