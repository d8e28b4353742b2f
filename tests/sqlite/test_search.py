"""The index of words: how a file gets it, who keeps it, and what it costs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import (
    NotSupportedError,
    SessionManager,
    StorageAdapter,
    UnavailableError,
    innermost,
    portable,
    run_now,
)
from session_continuity_sqlite import SqliteStorage, word_index

from .pools import pool_of, traced, verbs

if TYPE_CHECKING:
    from .conftest import OpenStore


def found(manager: SessionManager, text: str) -> list[str]:
    return [str(message.content) for message in manager.search_messages(text, limit=None)]


def fill(manager: SessionManager, count: int) -> None:
    manager.create_session(id="s", user_id="u")
    manager.add_messages("s", [{"role": "user", "content": f"needle {number}"} for number in range(count)])


def test_without_the_option_a_search_is_refused_before_the_file_is_asked(store: StorageAdapter) -> None:
    manager = SessionManager(store)
    manager.create_session(id="s")
    with traced(store) as statements, pytest.raises(NotSupportedError, match="search_messages"):
        manager.search_messages("needle")
    assert statements == []


def test_an_existing_file_gets_its_index_in_steps(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "BUILT_AT_ONCE", 10)
    fill(SessionManager(open_store()), 35)
    store = portable(SqliteStorage(pool_of(open_store()).place.path, search=True))
    adapter = innermost(store)
    steps: list[int] = []
    write = adapter.native.write  # type: ignore[attr-defined]

    def count(job: object) -> object:
        result = write(job)
        if job is word_index.build_step:
            ((built,),) = adapter.native.read(  # type: ignore[attr-defined]
                lambda connection: connection.execute("SELECT count(*) FROM message_words").fetchall()
            )
            steps.append(built)
        return result

    monkeypatch.setattr(adapter.native, "write", count)  # type: ignore[attr-defined]
    try:
        run_now(store.setup())
        assert steps == [10, 20, 30, 35, 35]
        assert len(found(SessionManager(store), "needle")) == 35
    finally:
        run_now(store.close())


def test_a_search_waits_for_an_index_that_is_being_built_and_setup_completes_it(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_index, "BUILT_AT_ONCE", 10)
    plain = SessionManager(open_store())
    fill(plain, 25)
    path = pool_of(open_store()).place.path
    pool = pool_of(open_store())
    pool.write(word_index.create)
    assert pool.write(word_index.build_step)
    searching = portable(SqliteStorage(path, search=True))
    manager = SessionManager(searching)
    with pytest.raises(UnavailableError, match="being built") as caught:
        run_now(searching.search_messages("needle", limit=5))
    assert caught.value.retryable
    last = list(plain.get_messages("s", limit=None))[-1]
    plain.update_message("s", last.id, content="thread")
    plain.add_message("s", "user", "needle new")
    run_now(searching.setup())
    assert len(found(manager, "needle")) == 25
    assert found(manager, "thread") == ["thread"]
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
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            sizes[option] = database.stat().st_size
    assert 1.5 < pages["true"] / pages["false"] < 3, pages
    assert 1.4 < sizes["true"] / sizes["false"] < 2.5, sizes
