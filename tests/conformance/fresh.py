"""An environment of its own, as a stranger has it: nothing is installed in it but what was built and what is public."""

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

_BESIDE = Path(sys.executable).with_name("uv")
UV = os.fspath(_BESIDE) if _BESIDE.exists() else shutil.which("uv")
"""Far faster than pip, where there is one."""


class Fresh:
    """A virtual environment below a folder, and the wheels built for it."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "venv/bin"
        self._wheels = folder / "wheels"
        venv.create(folder / "venv", with_pip=UV is None)

    @classmethod
    def with_suite(cls, folder: Path, *rooms: str) -> Fresh:
        """One in which core, the suite and these rooms are installed from their wheels."""
        made = cls(folder)
        core, *others = (made.wheel(ROOT / room) for room in ("core", "conformance", *rooms))
        made.install(f"session-continuity[cli] @ {core.as_uri()}", *others)
        return made

    def install(self, *what: str | Path, again: bool = False) -> None:
        """Install requirements and wheels; `again`, to put a wheel in the place of its like."""
        command = [UV, "pip", "install", "--python", self._bin / "python"] if UV else [*self._pip, "install"]
        forced = ["--force-reinstall", "--no-deps"] if again else []
        done(*command, "-q", "-c", CONSTRAINTS, *forced, *what)

    def wheel(self, source: Path) -> Path:
        """Build the wheel of a distribution."""
        target = self._wheels / source.name
        shutil.rmtree(target, ignore_errors=True)
        if UV:
            done(UV, "build", "-q", "--wheel", "--out-dir", target, source)
        else:
            done(*self._pip, "wheel", "-q", "--no-deps", "-w", target, source)
        (found,) = target.glob("*.whl")
        return found

    def run(self, program: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, warnings being errors."""
        return ran(self._bin / program, *arguments, cwd=cwd, environ={"PYTHONWARNINGS": "error"})

    @property
    def _pip(self) -> list[str | Path]:
        return [self._bin / "python", "-m", "pip"]


def ran(
    *command: str | Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command run to its end, apart from what the surrounding test run says to its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "SESSION_"))}
    return subprocess.run(
        command, cwd=cwd, env={**own, **(environ or {})}, capture_output=True, text=True, timeout=280, check=False
    )


def done(*command: str | Path, cwd: Path | None = None) -> None:
    """A command that must succeed."""
    end = ran(*command, cwd=cwd)
    assert end.returncode == 0, f"{command}\n{end.stdout}{end.stderr}"


def check_with_tools(project: Path) -> None:
    """Style, format and both type checkers have nothing to say about a generated project."""
    tools: list[list[str]] = [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--cache-dir=/dev/null", "src", "tests"],
        ["pyright", "--pythonpath", sys.executable, "src", "tests"],
    ]
    for tool in tools:
        done(sys.executable, "-m", *tool, cwd=project)
