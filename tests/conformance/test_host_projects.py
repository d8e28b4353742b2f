"""The suite runs inside projects that use other pytest plugins, without a clash and without their help."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
    """A project with its own environment, in which the environment lies below the project's conftest."""
    project = tmp_path_factory.mktemp("host")
    venv.create(project / ".venv", with_pip=True)
    rooms = [str(ROOT / room) for room in ("core", "plugins/memory", "conformance")]
    subprocess.run(
        [project / ".venv/bin/python", "-m", "pip", "install", "-q", *rooms, *HOST_PLUGINS],
        check=True,
        capture_output=True,
        timeout=280,
    )
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
    return subprocess.run(
        [host / ".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=host,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


SUITE = ("--pyargs", "session_continuity_conformance.suite", "--sc-url=memory://test")


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ("asyncio_mode = strict", ()),
        ("asyncio_mode = auto", ()),
        ("asyncio_mode = strict", ("-n", "2")),
    ],
    ids=["strict", "auto", "xdist"],
)
def test_suite_runs_beside_a_hosts_own_tests(host: Path, settings: str, arguments: tuple[str, ...]) -> None:
    ran = pytest_in(host, settings, *arguments, "test_own.py", *SUITE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "memory://test: CONFORMANT 1.0" in ran.stdout


def test_plugin_is_inert_without_a_store(host: Path) -> None:
    ran = pytest_in(host, "asyncio_mode = strict", "test_own.py", "--fixtures-per-test")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "conformance" not in ran.stdout


def test_suite_without_a_store_says_what_it_needs(host: Path) -> None:
    ran = pytest_in(host, "asyncio_mode = strict", *SUITE[:2])
    assert ran.returncode != 0
    assert "state --sc-url=URL or --sc-harness=MODULE:NAME" in ran.stdout + ran.stderr
