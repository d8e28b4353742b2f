"""How a file gets its tables: by setup, once, in steps, whoever calls and however often."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import (
    StorageAdapter,
    StorageError,
    run_now,
)
from session_continuity_sqlite import schema

from ..kit.conversations import EVERYTHING, new_session, store_session, stored_contents

if TYPE_CHECKING:
    from .conftest import OpenStore, StartProgram


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run a statement on the file as another program would, and commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_setup_makes_a_file_in_wal_mode_that_says_whose_it_is(open_store: OpenStore, database: Path) -> None:
    open_store()
    assert ask(database, "PRAGMA journal_mode") == [("wal",)]
    assert ask(database, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert ask(database, "PRAGMA user_version") == [(schema.VERSION,)]


def test_setup_brings_a_file_that_was_restored_from_a_backup_into_wal_mode_again(
    open_store: OpenStore, database: Path, tmp_path: Path
) -> None:
    run_now(open_store().close())
    backup = tmp_path / "backup.db"
    ask(database, f"VACUUM INTO '{backup}'")
    assert ask(backup, "PRAGMA journal_mode") == [("delete",)]
    open_store(backup)
    assert ask(backup, "PRAGMA journal_mode") == [("wal",)]


def test_every_table_is_strict(open_store: OpenStore, database: Path) -> None:
    open_store()
    tables = ask(database, "SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite%'")
    assert tables
    assert all(strict for _, strict in tables)


def test_setup_again_changes_nothing(open_store: OpenStore, database: Path) -> None:
    store = open_store()
    store_session(store, 3)
    before = ask(database, "PRAGMA schema_version")
    run_now(store.setup())
    open_store()
    assert stored_contents(store) == ["message 0", "message 1", "message 2"]
    assert ask(database, "PRAGMA schema_version") == before


def test_eight_processes_set_up_one_file_at_once(start_program: StartProgram, database: Path) -> None:
    processes = [start_program("setup.py", database) for _ in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.stdout.read() for process in processes if process.stdout] == ["healthy\n"] * 8
    assert ask(database, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("prepared", ["missing", "empty"])
def test_without_setup_calls_say_to_call_it(open_store: OpenStore, database: Path, prepared: str) -> None:
    if prepared == "empty":
        database.touch()
    store = open_store(set_up=False)
    with pytest.raises(StorageError, match=r"call setup\(\)"):
        run_now(store.create_session(new_session()))
    with pytest.raises(StorageError, match=r"call setup\(\)"):
        run_now(store.get_messages("s", EVERYTHING))
    run_now(store.setup())
    run_now(store.create_session(new_session()))


def test_a_call_without_setup_creates_no_file(open_store: OpenStore, database: Path) -> None:
    with pytest.raises(StorageError):
        run_now(open_store(set_up=False).get_session("s"))
    assert not database.exists()


def test_an_older_file_is_brought_up_to_date_and_keeps_its_data(
    open_store: OpenStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_store()
    store_session(old, 2)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE later (x TEXT) STRICT",)))
    present = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", present + 1)
    new = open_store(set_up=False)
    with pytest.raises(StorageError, match=rf"version {present}, older than this code's {present + 1}; call setup\(\)"):
        run_now(new.get_session("s"))
    run_now(new.setup())
    assert ask(database, "PRAGMA user_version") == [(present + 1,)]
    assert ask(database, "SELECT count(*) FROM later") == [(0,)]
    assert stored_contents(new) == ["message 0", "message 1"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    open_store: OpenStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_session(open_store(), 2)
    broken = ("CREATE TABLE later (x TEXT) STRICT", "CREATE TABLE sessions (x TEXT) STRICT")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(StorageError, match="already exists"):
            open_store()
    assert ask(database, "PRAGMA user_version") == [(schema.VERSION,)]
    assert ask(database, "SELECT name FROM sqlite_schema WHERE name = 'later'") == []
    assert stored_contents(open_store()) == ["message 0", "message 1"]


def test_a_newer_file_is_refused_and_left_alone(open_store: OpenStore, database: Path) -> None:
    store_session(open_store(), 1)
    ask(database, "PRAGMA user_version = 7")
    store = open_store(set_up=False)
    for call in (store.setup(), store.get_session("s"), store.create_session(new_session("t"))):
        with pytest.raises(StorageError, match=f"version 7, newer than this code's {schema.VERSION}; upgrade"):
            run_now(call)
    assert run_now(store.health()).status == "unhealthy"
    assert ask(database, "SELECT count(*) FROM sessions") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE theirs (x)", "PRAGMA user_version = 1", "PRAGMA application_id = 99"],
)
def test_another_programs_database_is_refused_and_left_alone(
    open_store: OpenStore, database: Path, statement: str
) -> None:
    ask(database, statement)
    before = database.read_bytes()
    store = open_store(set_up=False)
    for call in (store.setup(), store.get_session("s")):
        with pytest.raises(StorageError, match="belongs to another program"):
            run_now(call)
    run_now(store.close())
    assert database.read_bytes() == before


def test_a_file_that_was_removed_is_made_anew_by_setup_only(store: StorageAdapter, database: Path) -> None:
    store_session(store, 1)
    for name in (database, Path(f"{database}-wal"), Path(f"{database}-shm")):
        name.unlink()
    with pytest.raises(StorageError, match=r"no file .*; call setup\(\) to create it, or put it back"):
        run_now(store.create_session(new_session("t")))
    assert run_now(store.health()).status == "degraded"
    run_now(store.setup())
    assert run_now(store.get_session("s")) is None


def test_a_file_that_was_replaced_is_read_anew(open_store: OpenStore, store: StorageAdapter, database: Path) -> None:
    other = open_store(database.with_name("other.db"))
    store_session(store, 1)
    store_session(other, 3)
    run_now(other.close())
    for name in (database, Path(f"{database}-wal"), Path(f"{database}-shm")):
        name.unlink()
    database.with_name("other.db").rename(database)
    assert stored_contents(store) == ["message 0", "message 1", "message 2"]
