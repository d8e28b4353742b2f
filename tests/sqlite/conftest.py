"""Fixtures: real files in a folder of the test's own, stores that are closed after the test, programs beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from session_continuity import run_now
from session_continuity_sqlite import SqliteStorage

PROGRAMS = Path(__file__).parent / "programs"

Opens = Callable[..., SqliteStorage]
Starts = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the test's database file is to lie."""
    return tmp_path / "chat.db"


@pytest.fixture
def opens(database: Path) -> Iterator[Opens]:
    """Opens a store, on `database` unless told otherwise, and sets it up."""
    with ExitStack() as closing:

        def open_one(path: Path | str = database, *, set_up: bool = True, **options: object) -> SqliteStorage:
            store = SqliteStorage(path, **options)  # type: ignore[arg-type]
            closing.callback(lambda: run_now(store.close()))
            if set_up:
                run_now(store.setup())
            return store

        yield open_one


@pytest.fixture
def store(opens: Opens) -> SqliteStorage:
    """A store in blocking mode, set up."""
    return opens()


@pytest.fixture
def starts() -> Iterator[Starts]:
    """Starts one of the programs beside the tests; its standard input and output are pipes of lines."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", PROGRAMS / program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        with process:  # closes the pipes and waits
            pass
