"""The suite runs in projects with other pytest plugins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ..kit.environments import FreshEnvironment, run_program
from ..kit.verdicts import CONFORMANT

HOST_PLUGINS = ["pytest-asyncio", "anyio", "trio", "pytest-xdist"]

CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def store():
    return "the host's own"

@pytest.fixture
def adapter():
    raise AssertionError("the suite must not take fixtures of its host")
"""

OWN_TEST = """
import asyncio
import pytest

@pytest.mark.asyncio
async def test_own_asyncio():
    await asyncio.sleep(0)

@pytest.mark.anyio
async def test_own_anyio():
    pass

async def helper():
    return 1

def test_own_plain():
    assert asyncio.run(helper()) == 1
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its own environment, which lies below the project's conftest."""
    project = tmp_path_factory.mktemp("host")
    FreshEnvironment.with_suite(project, "plugins/memory").install(*HOST_PLUGINS)
    project.joinpath("conftest.py").write_text(CONFTEST)
    project.joinpath("test_own.py").write_text(OWN_TEST)
    return project


SETTINGS = """[pytest]
filterwarnings = error
addopts = --strict-markers
asyncio_default_fixture_loop_scope = function
"""


def pytest_in(host: Path, settings: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    host.joinpath("pytest.ini").write_text(SETTINGS + settings)
    return run_program(host / "venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, cwd=host)


SUITE = ("--pyargs", "session_continuity_conformance.suite", "--sc-url=memory://test")


@pytest.mark.long("The whole suite beside each set of plugins that a host may have.")
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ("asyncio_mode = strict", ()),
        ("asyncio_mode = auto", ("-W", "error", "-W", "error::pytest.PytestUnraisableExceptionWarning")),
        ("asyncio_mode = strict\nanyio_mode = auto", ("-n", "2")),
    ],
    ids=["asyncio strict", "asyncio auto, warnings are errors", "anyio auto, xdist"],
)
def test_suite_runs_beside_a_hosts_own_tests(host: Path, settings: str, arguments: tuple[str, ...]) -> None:
    ran = pytest_in(host, settings, *arguments, "test_own.py", *SUITE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"memory://test: {CONFORMANT}" in ran.stdout


def test_plugin_is_inert_without_a_store(host: Path) -> None:
    ran = pytest_in(host, "asyncio_mode = strict", "test_own.py", "--fixtures-per-test")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "conformance" not in ran.stdout


def test_suite_without_a_store_says_what_it_needs(host: Path) -> None:
    ran = pytest_in(host, "asyncio_mode = strict", *SUITE[:2])
    assert ran.returncode != 0
    assert "add --sc-url=URL or --sc-harness=MODULE:NAME" in ran.stdout + ran.stderr
