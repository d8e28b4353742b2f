"""A pytest plugin for the tests of ChatKit: the store of its test helpers is ours.

The source distribution lacks these helpers, so they are made here.
"""

from __future__ import annotations

import re
import sys
from tempfile import mkdtemp
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from swap_stores import url_of  # beside this file, which is on the path of modules

from session_continuity_agents.chatkit import ChatKitStore

_folder = mkdtemp()
_calls = 0


class RequestContext(BaseModel):
    """The context of a request, as theirs is."""

    user_id: str


class SQLiteStore(ChatKitStore[Any]):
    """Called as theirs is."""

    def __init__(self, db_path: str) -> None:
        super().__init__(url=url_of(f"{_folder}/{re.sub(r'[^a-z0-9]', '_', db_path)}.db"))
        self.db_path = db_path
        global _calls
        _calls += 1


def pytest_configure() -> None:
    for name, content in {"tests._types": RequestContext, "helpers.mock_store": SQLiteStore}.items():
        module = ModuleType(name)
        setattr(module, content.__name__, content)
        sys.modules[name] = module
    sys.modules["helpers"] = ModuleType("helpers")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"stores of ours: {_calls}")
