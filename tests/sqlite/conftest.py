"""Fixtures of the SQLite tests: a database file, stores on it, and programs that use it from other processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from session_continuity import StorageAdapter, portable, run_now
from session_continuity_sqlite import SqliteStorage

PROGRAMS = Path(__file__).parent / "programs"

OpenStore = Callable[..., StorageAdapter]
StartProgram = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of the test's database file, which does not exist yet."""
    return tmp_path / "chat.db"


@pytest.fixture
def open_store(database: Path) -> Iterator[OpenStore]:
    """Opens a store in the file `database` or another one, and sets it up. It is closed after the test."""
    with ExitStack() as closing:

        def open_one(path: Path | str = database, *, set_up: bool = True, **options: object) -> StorageAdapter:
            store = portable(SqliteStorage(path, **options))  # type: ignore[arg-type]
            closing.callback(lambda: run_now(store.close()))
            if set_up:
                run_now(store.setup())
            return store

        yield open_one


@pytest.fixture
def store(open_store: OpenStore) -> StorageAdapter:
    """A store in blocking mode, set up."""
    return open_store()


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Starts a program of the folder `programs`, with pipes as standard input and output.

    It is killed after the test.
    """
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
