"""Runs the suite as its users do: with the command, in a temporary folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from session_continuity.cli import app as command


class ConformanceCommand:
    """`session-continuity conformance` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run the command, and return its exit code and its report."""
        code, report, errors = self._run(*arguments)
        assert errors == ""
        return code, report

    def with_document(self, *arguments: str) -> tuple[int, str, dict[str, Any]]:
        """The same with `--json` for one store: exit code, report, and the document of the store."""
        code, document, report = self._run(*arguments, "--json")
        (store,) = json.loads(document)["stores"]
        return code, report, store

    def _run(self, *arguments: str) -> tuple[int, str, str]:
        code = command.run(["conformance", *arguments], "session-continuity")
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def conformance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ConformanceCommand:
    """The command, run in `tmp_path`. `stores:NAME` are harnesses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return ConformanceCommand(capsys)
