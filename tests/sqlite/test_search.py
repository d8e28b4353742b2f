"""The index of words: how a file gets it, who keeps it, and what it costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import (
    NotSupportedError,
    SessionManager,
    StorageAdapter,
    StorageError,
    portable,
    run_now,
)
from session_continuity_sqlite import SqliteStorage, word_index
from session_continuity_sqlite.pool import ConnectionPool

from .pools import pool_of, traced, verbs

if TYPE_CHECKING:
    from .conftest import OpenStore, StartProgram


def found(manager: SessionManager, text: str) -> list[str]:
    return [str(message.content) for message in manager.search_messages(text, limit=None)]


def fill(manager: SessionManager, count: int) -> None:
    manager.create_session(id="s", user_id="u")
    manager.add_messages("s", [{"role": "user", "content": f"needle {number}"} for number in range(count)])


def enter_ten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = word_index._DUE.replace(f"LIMIT {word_index.ENTERED_AT_ONCE}", "LIMIT 10")
    assert limited != word_index._DUE
    monkeypatch.setattr(word_index, "_DUE", limited)


@contextmanager
def recorded(pool: ConnectionPool) -> Iterator[list[int]]:
    """How many messages the index has after each step of entering words."""
    steps: list[int] = []
    write = pool.write

    def count(job: Any) -> Any:
        result = write(job)
        if job is word_index.enter_some:
            query = "SELECT count(*) FROM message_words"
            steps.append(pool.read(lambda connection: connection.execute(query).fetchall()[0][0]))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "write", count)
        yield steps


def test_without_the_option_a_search_is_refused_before_the_file_is_asked(store: StorageAdapter) -> None:
    manager = SessionManager(store)
    manager.create_session(id="s")
    with traced(store) as statements, pytest.raises(NotSupportedError, match="search_messages"):
        manager.search_messages("needle")
    assert statements == []


def test_an_existing_file_gets_its_index_in_steps(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_ten_at_once(monkeypatch)
    fill(SessionManager(open_store()), 35)
    path = pool_of(open_store()).place.path
    searching = SqliteStorage(path, search=True)
    with recorded(searching.native) as steps:
        run_now(searching.setup())
    assert steps == [10, 20, 30, 35, 35]
    assert len(found(SessionManager(portable(searching)), "needle")) == 35
    run_now(searching.close())


def test_a_search_enters_first_what_others_have_written(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_ten_at_once(monkeypatch)
    searching = SqliteStorage(database, search=True)
    run_now(searching.setup())
    with SessionManager.open(f"sqlite:///{database}") as plain:
        fill(plain, 25)
    with recorded(searching.native) as steps:
        assert len(found(SessionManager(portable(searching)), "needle")) == 25
    assert steps == [10, 20, 25, 25]
    run_now(searching.close())


def test_an_index_of_which_a_part_is_entered_is_completed(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_ten_at_once(monkeypatch)
    plain = SessionManager(open_store())
    fill(plain, 25)
    pool = pool_of(open_store())
    pool.write(word_index.create)
    assert pool.write(word_index.enter_some)
    first, *_, last = plain.get_messages("s", limit=None)
    for message in (first, last):  # one in the index, one that is due
        plain.update_message("s", message.id, content="thread")
    plain.add_message("s", "user", "needle new")
    searching = portable(SqliteStorage(pool.place.path, search=True))
    manager = SessionManager(searching)
    assert len(found(manager, "needle")) == 24
    assert found(manager, "thread") == ["thread", "thread"]
    run_now(searching.close())


def test_other_programs_can_write_to_a_file_with_the_index(database: Path) -> None:
    with SessionManager.open(f"sqlite:///{database}?search=true") as manager:
        fill(manager, 2)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE messages SET content = 'thread' WHERE content = 'needle 0'")
            connection.commit()
        assert found(manager, "thread") == ["thread"]
        assert found(manager, "needle") == ["needle 1"]


def test_without_an_index_a_search_names_setup(database: Path) -> None:
    with SessionManager.open(f"sqlite:///{database}") as plain:
        fill(plain, 1)
    searching = portable(SqliteStorage(database, search=True))
    with pytest.raises(StorageError, match="setup"):
        run_now(searching.search_messages("needle", limit=5))
    run_now(searching.close())


def test_an_adapter_without_the_option_keeps_the_index(database: Path) -> None:
    with SessionManager.open(f"sqlite:///{database}?search=true") as searching:
        fill(searching, 3)
        with SessionManager.open(f"sqlite:///{database}") as plain:
            messages = list(plain.get_messages("s"))
            plain.add_message("s", "user", "needle by another")
            plain.update_message("s", messages[0].id, content="thread")
            plain.delete_message("s", messages[1].id)
        assert found(searching, "needle") == ["needle by another", "needle 2"]
        with SessionManager.open(f"sqlite:///{database}") as plain:
            plain.delete_session("s")
        assert found(searching, "needle") == []
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM message_words").fetchall() == [(0,)]
        connection.execute("INSERT INTO message_words (message_words) VALUES ('integrity-check')")


def test_a_page_looks_at_a_limited_number_of_matches(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = word_index._FLOOR.replace(f"LIMIT {word_index.LOOKED_AT}", "LIMIT 10")
    assert limited != word_index._FLOOR
    monkeypatch.setattr(word_index, "_FLOOR", limited)
    monkeypatch.setattr(word_index, "LOOKED_AT", 10)
    with SessionManager.open(f"sqlite:///{database}?search=true") as manager:
        manager.create_session(id="mine", user_id="me")
        manager.add_message("mine", "user", "needle of mine")
        fill(manager, 25)
        page = run_now(manager._storage.adapter.search_messages("needle", user_id="me", limit=5))
        assert (len(page), page.next_cursor is None) == (0, False)
        assert [each.session_id for each in manager.search_messages("needle", user_id="me", limit=5)] == ["mine"]


def test_a_search_is_four_statements(database: Path) -> None:
    with SessionManager.open(f"sqlite:///{database}?search=true") as manager:
        fill(manager, 40)
        store = manager._storage.adapter
        manager.search_messages("needle", limit=10)
        with traced(store) as statements:
            manager.search_messages("needle", limit=10)
        assert verbs([each for each in statements if not each.startswith("--")]) == ["SELECT"] * 4


def test_the_index_costs_writes_and_space(tmp_path: Path) -> None:
    """The README states the ratios, measured with these texts."""
    pages: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for option in ("false", "true"):
        database = tmp_path / f"{option}.db"
        with (
            SessionManager.open(f"sqlite:///{database}?search={option}") as manager,
            closing(sqlite3.connect(database)) as connection,
        ):
            manager.create_session(id="s")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for number in range(60):
                words = " ".join(f"word{(number * 7 + place * 13) % 500}" for place in range(40))
                manager.add_message("s", "user", words)
            pages[option] = (database.with_name(f"{database.name}-wal").stat().st_size - 32) // 4120
            if option == "true":
                assert len(manager.search_messages("word7", limit=5)) > 0
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            sizes[option] = database.stat().st_size
    assert 1 < pages["true"] / pages["false"] < 1.5, pages
    assert 1.2 < sizes["true"] / sizes["false"] < 2.5, sizes


@pytest.mark.parametrize("stop", range(4))
def test_an_index_whose_builder_was_killed_is_finished_by_the_next(
    start_program: StartProgram, database: Path, stop: int
) -> None:
    """SIGKILL while the index is created, and in each transaction that enters words: nothing is lost or found twice."""
    with SessionManager.open(f"sqlite:///{database}") as manager:
        fill(manager, 2 * word_index.ENTERED_AT_ONCE + 100)
    builder = start_program("index.py", database, stop)
    assert builder.stdout is not None
    assert builder.stdout.readline() == "stopped\n"
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'message_words_due'").fetchall()
        assert tables == [(int(stop > 0),)], "what the step has written is not committed"
    builder.kill()
    builder.wait()
    with SessionManager.open(f"sqlite:///{database}?search=true") as manager:
        manager.add_message("s", "user", "needle last")
        texts = found(manager, "needle")
    assert sorted(texts) == sorted(["needle last", *(f"needle {number}" for number in range(len(texts) - 1))])
    assert len(texts) == 2 * word_index.ENTERED_AT_ONCE + 101
