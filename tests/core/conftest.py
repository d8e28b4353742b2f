"""Fixtures of several files: programs in a separate process, and distributions that are installed for one test."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

from ..kit.distributions import write_distribution

settings.register_profile("core", deadline=None)
settings.load_profile("core")

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]
Install = Callable[..., Path]


@pytest.fixture
def run_python() -> RunPython:
    """Runs a Python program in a new process, without this project's variables. Warnings are errors."""

    def run(
        program: str, *arguments: str, path: str | os.PathLike[str] = "", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_CONTINUITY")}
        paths = [os.fspath(path), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", dedent(program), *arguments],
            env={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(environ or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution in a folder that is on the path until the test ends."""
    modules_before = set(sys.modules)

    def add(
        name: str,
        *,
        version: str = "1.0",
        storage: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / f"{name}-{version}"
        groups = {"session_continuity.storage": storage or {}, "session_continuity.extensions": extensions or {}}
        write_distribution(folder, name, version=version, entry_points=groups, modules=modules)
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        return folder

    yield add
    for name in set(sys.modules) - modules_before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
