"""Runs the suite as its users do: by its command line, in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from session_continuity_conformance.__main__ import main

Conformance = Callable[..., tuple[int, str]]


@pytest.fixture
def conformance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Conformance:
    """Runs the command and returns its exit code and what it printed; `stores:NAME` are harnesses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        assert said.err == ""
        return code, said.out

    return run
