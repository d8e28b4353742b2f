"""What every distribution of the repository says of itself, to an index and to whoever installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = [f"plugins/{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")]
ROOMS = ["core", "conformance", "agents", *PLUGINS]


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest) -> Path:
    return ROOT / request.param


@pytest.fixture
def project(room: Path) -> dict[str, Any]:
    stated: dict[str, Any] = tomllib.loads((room / "pyproject.toml").read_text())["project"]
    return stated


def test_it_carries_the_license(room: Path, project: dict[str, Any]) -> None:
    assert project["license"] == "MIT"
    assert (room / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_it_describes_itself(room: Path, project: dict[str, Any]) -> None:
    assert (room / project["readme"]).read_text().startswith(f"# {project['name']}\n")
    assert "Typing :: Typed" in project["classifiers"]
    assert [path.parent.name for path in room.glob("src/*/py.typed")] == [project["name"].replace("-", "_")]


@pytest.mark.parametrize("name", ["core", "plugins/memory", "plugins/sqlite"])
def test_the_readme_of_an_embedded_store_runs_as_printed(name: str, tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / name / "README.md").read_text(), re.DOTALL)
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")
