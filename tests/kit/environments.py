"""New virtual environments, in which nothing is installed but wheels built here and public packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

_BESIDE_PYTHON = Path(sys.executable).with_name("uv")
_UV = os.fspath(_BESIDE_PYTHON) if _BESIDE_PYTHON.exists() else shutil.which("uv")
"""uv, which is much faster than pip, or None if it is not installed."""


class FreshEnvironment:
    """A virtual environment in a folder, and the wheels built for it. `constraints` is a file of versions."""

    def __init__(self, folder: Path, constraints: Path = CONSTRAINTS) -> None:
        self._constraints = constraints
        self._bin = folder / "venv/bin"
        self._wheels = folder / "wheels"
        venv.create(folder / "venv", with_pip=_UV is None)

    @classmethod
    def with_suite(cls, folder: Path, *distributions: str) -> FreshEnvironment:
        """An environment with core, the conformance suite and the distributions in these folders, from their wheels."""
        environment = cls(folder)
        core, *others = (environment.wheel(ROOT / room) for room in ("core", "conformance", *distributions))
        environment.install(f"session-continuity[cli] @ {core.as_uri()}", *others)
        return environment

    def install(self, *requirements: str | Path, again: bool = False) -> None:
        """Install requirements and wheels. `again` replaces a wheel of the same version."""
        command = [_UV, "pip", "install", "--python", self._bin / "python"] if _UV else [*self._pip, "install"]
        forced = ["--force-reinstall", "--no-deps"] if again else []
        run_checked(*command, "-q", "-c", self._constraints, *forced, *requirements)

    def wheel(self, source: Path) -> Path:
        """Build the wheel of the distribution in a folder."""
        target = self._wheels / source.name
        shutil.rmtree(target, ignore_errors=True)
        if _UV:
            run_checked(_UV, "build", "-q", "--wheel", "--out-dir", target, source)
        else:
            run_checked(*self._pip, "wheel", "-q", "--no-deps", "-w", target, source)
        [wheel] = target.glob("*.whl")
        return wheel

    def run(self, program: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end. Warnings are errors."""
        return run_program(self._bin / program, *arguments, cwd=cwd, environ={"PYTHONWARNINGS": "error"})

    @property
    def _pip(self) -> list[str | Path]:
        return [self._bin / "python", "-m", "pip"]


def run_program(
    *command: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code, without the variables of the surrounding test run."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "SESSION_"))}
    return subprocess.run(
        command, cwd=cwd, env={**own, **(environ or {})}, capture_output=True, text=True, timeout=280, check=False
    )


def run_checked(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command to its end. Raises AssertionError with its output if it fails."""
    end = run_program(*command, cwd=cwd)
    assert end.returncode == 0, f"{command}\n{end.stdout}{end.stderr}"


def check_project(project: Path) -> None:
    """Run ruff and both type checkers on a generated project. Raises AssertionError for anything that they report."""
    tools: list[list[str]] = [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--cache-dir=/dev/null", "src", "tests"],
        ["pyright", "--pythonpath", sys.executable, "src", "tests"],
    ]
    for tool in tools:
        run_checked(sys.executable, "-m", *tool, cwd=project)
