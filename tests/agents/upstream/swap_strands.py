"""A pytest plugin for the tests of strands-agents: their repositories in memory and in files are ours.

The variable SC_SWAP is `repository` or `files`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from swap_stores import url_of  # beside this file, which is on the path of modules

from session_continuity_agents.handles import ManagerHandle
from session_continuity_agents.strands_agents import StrandsRepository, StrandsSessionManager

_calls = 0


def _counted() -> None:
    global _calls
    _calls += 1


class MockedSessionRepository(StrandsRepository):
    """Called as theirs is: an empty store."""

    def __init__(self) -> None:
        super().__init__(ManagerHandle(url_of(), None))
        _counted()


class FileSessionManager(StrandsSessionManager):
    """Called as theirs is: a store for each folder."""

    def __init__(self, session_id: str, storage_dir: str | None = None, **_: Any) -> None:
        self.storage_dir = storage_dir or tempfile.mkdtemp()
        Path(self.storage_dir).mkdir(parents=True, exist_ok=True)
        super().__init__(session_id, url=url_of(f"{self.storage_dir}/sessions.db"))
        _counted()

    def __getattr__(self, name: str) -> Any:
        """Their manager is its own repository."""
        return getattr(self.__dict__["_repository"], name)


def _swap(kind: str) -> None:
    sys.path.insert(0, os.getcwd())
    if kind == "repository":
        import_module("tests.fixtures.mock_session_repository").MockedSessionRepository = MockedSessionRepository
    else:
        for name in ("strands.session", "strands.session.file_session_manager"):
            import_module(name).FileSessionManager = FileSessionManager


def pytest_configure() -> None:
    _swap(os.environ["SC_SWAP"])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"repositories of ours: {_calls}")
