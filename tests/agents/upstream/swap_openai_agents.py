"""A pytest plugin for the tests of openai-agents: SQLiteSession and the list in memory of its test helpers are ours.

The variable SC_SWAP is `sqlite` or `simple`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from swap_stores import url_of  # beside this file, which is on the path of modules

from session_continuity_agents.handles import ManagerHandle
from session_continuity_agents.openai_agents import OpenAISession

R = TypeVar("R")
_calls = 0


def _wait(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine, for the plain methods and attributes of the classes that are replaced."""
    return ManagerHandle("memory://waiting", None).run(coroutine)


class SQLiteSession(OpenAISession):
    """Called as theirs is."""

    def __init__(
        self,
        session_id: str,
        db_path: str | Path = ":memory:",
        *_: str,
        session_settings: Any = None,
        **__: str,
    ) -> None:
        super().__init__(session_id, url=url_of(db_path), session_settings=session_settings)
        self.db_path = db_path
        global _calls
        _calls += 1

    def close(self) -> None:
        _wait(self.aclose())


class SimpleListSession(OpenAISession):
    """Called as theirs is, and with its attributes."""

    _ignore_ids_for_matching = False

    def __init__(self, session_id: str = "test", history: list[Any] | None = None) -> None:
        super().__init__(session_id, url=url_of())
        self.session_settings = None
        if history:
            _wait(OpenAISession.add_items(self, list(history)))
        global _calls
        _calls += 1

    @property
    def _items(self) -> list[Any]:
        return _wait(OpenAISession.get_items(self))

    saved_items = _items


class CountingSession(SimpleListSession):
    """Counts the items that are taken off."""

    def __init__(self, session_id: str = "test", history: list[Any] | None = None) -> None:
        super().__init__(session_id, history)
        self.pop_calls = 0

    async def pop_item(self, **context: Any) -> Any:
        self.pop_calls += 1
        return await super().pop_item(**context)


class IdStrippingSession(CountingSession):
    """Stores items without their ids, as servers do that assign new ones."""

    _ignore_ids_for_matching = True

    async def add_items(self, items: list[Any], **context: Any) -> None:
        await super().add_items([{key: item[key] for key in item if key != "id"} for item in items], **context)


def _swap(kind: str) -> None:
    sys.path.insert(0, os.getcwd())
    if kind == "sqlite":
        for name in ("agents", "agents.memory", "agents.memory.sqlite_session"):
            import_module(name).SQLiteSession = SQLiteSession  # type: ignore[attr-defined]
    else:
        helpers: Any = import_module("tests.utils.simple_session")
        for each in (SimpleListSession, CountingSession, IdStrippingSession):
            setattr(helpers, each.__name__, each)


def pytest_configure() -> None:
    _swap(os.environ["SC_SWAP"])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"sessions of ours: {_calls}")
