"""What each call asks of SQLite: how many statements and transactions, and by which index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from session_continuity import MessageQuery, Patch, SessionFilter, encode_cursor, run_now
from session_continuity_sqlite import SqliteStorage

from .making import EVERYTHING, START, Speaker, a_session, contents, talk

if TYPE_CHECKING:
    from .conftest import Opens


@contextmanager
def traced(store: SqliteStorage) -> Iterator[list[str]]:
    """Every statement that the store runs meanwhile, with its parameters in place."""
    statements: list[str] = []
    store._connections.read("test", lambda connection: connection.set_trace_callback(statements.append))
    try:
        yield statements
    finally:
        store._connections.read("test", lambda connection: connection.set_trace_callback(None))


def verbs(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


def plan(store: SqliteStorage, statements: list[str]) -> list[str]:
    """How SQLite runs these statements, a line for each step."""

    def explain(connection: sqlite3.Connection) -> list[str]:
        return [row[3] for text in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]

    return store._connections.read("test", explain)


@pytest.mark.parametrize("count", [1, 5])
def test_an_append_is_one_transaction_that_reads_nothing_first(store: SqliteStorage, count: int) -> None:
    talk(store, 10)
    speaker = Speaker(start=START + timedelta(hours=1))
    turn = [speaker.says("hello") for _ in range(count)]
    with traced(store) as statements:
        run_now(store.append_messages("s", turn))
    assert verbs(statements) == ["BEGIN", "UPDATE", *["INSERT"] * count, "COMMIT"]


def test_the_last_messages_are_one_statement(store: SqliteStorage) -> None:
    talk(store, 30)
    with traced(store) as statements:
        page = run_now(store.get_messages("s", MessageQuery(order="desc", limit=20)))
    assert len(page) == 20
    assert verbs(statements) == ["SELECT"]
    assert plan(store, statements)[0] == "SEARCH messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


def test_reads_are_one_statement_each(store: SqliteStorage) -> None:
    said = talk(store, 3)
    with traced(store) as statements:
        run_now(store.get_session("s"))
        run_now(store.get_message("s", said[1].id))
        run_now(store.list_sessions(SessionFilter(), limit=10))
        run_now(store.get_expired_sessions(START, limit=10))
        run_now(store.get_messages("s", EVERYTHING))
    assert verbs(statements) == ["SELECT"] * 5


def test_an_edit_that_keeps_its_tokens_and_role_leaves_session_and_indexes_alone(store: SqliteStorage) -> None:
    said = talk(store, 3)
    with traced(store) as statements:
        run_now(store.update_message("s", said[1].id, Patch(set={"content": "edited"})))
    assert verbs(statements) == ["BEGIN", "SELECT", "UPDATE", "COMMIT"]
    assert statements[2].startswith("UPDATE messages SET tokens = 1, body = ")


QUERIES = {
    "all": MessageQuery(),
    "newest first": MessageQuery(order="desc"),
    "one role": MessageQuery(roles=frozenset({"system"})),
    "two roles": MessageQuery(roles=frozenset({"system", "tool"}), order="desc"),
    "ids": MessageQuery(ids=frozenset({"a", "b"})),
    "ids and roles": MessageQuery(ids=frozenset({"a", "b"}), roles=frozenset({"user"})),
    "times": MessageQuery(after=START, before=START),
    "bounds": MessageQuery(after_id="a", before_id="b", roles=frozenset({"user"})),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("further", [False, True], ids=["first page", "further page"])
def test_a_page_of_messages_follows_its_index_and_sorts_ids_only(
    store: SqliteStorage, query: MessageQuery, further: bool
) -> None:
    run_now(store.create_session(a_session()))
    speaker = Speaker()
    run_now(store.append_messages("s", [speaker.says(text, id=text) for text in ("a", "b")]))
    cursor = encode_cursor(5, bound_to=query.key("s")) if further else None
    with traced(store) as statements:
        run_now(store.get_messages("s", query, cursor=cursor))
    steps = plan(store, statements[:1])
    by = "INDEX messages_by_id" if query.ids else "INDEX messages_by_role" if query.roles else "INTEGER PRIMARY KEY"
    first = next(step for step in steps if "messages" in step)
    assert first.startswith(f"SEARCH messages USING {by} (")
    assert not [step for step in steps if step.startswith("SCAN")]
    sorts = [step for step in steps if "TEMP B-TREE" in step]
    assert bool(sorts) == (query.ids is not None)


FILTERS = {
    "everything": SessionFilter(),
    "user": SessionFilter(user_id="u"),
    "agent": SessionFilter(active_agent_id="a"),
    "both": SessionFilter(user_id="u", active_agent_id="a"),
    "status": SessionFilter(status="active"),
    "tags": SessionFilter(tags=frozenset({"x", "y"})),
    "user and times": SessionFilter(user_id="u", created_after=START, created_before=START),
}


@pytest.mark.parametrize("filter_", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("further", [False, True], ids=["first page", "further page"])
def test_a_listing_follows_an_index_and_sorts_nothing(
    store: SqliteStorage, filter_: SessionFilter, further: bool
) -> None:
    cursor = encode_cursor(["2026", "x"], bound_to=filter_.key()) if further else None
    with traced(store) as statements:
        run_now(store.list_sessions(filter_, limit=10, cursor=cursor))
    steps = plan(store, statements)
    by = "user" if filter_.user_id else "agent" if filter_.active_agent_id else "time"
    assert steps[0].startswith(f"SEARCH sessions USING INDEX sessions_by_{by} (namespace=?")
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN sessions")]


def test_expired_sessions_come_from_their_index_alone(store: SqliteStorage) -> None:
    with traced(store) as statements:
        run_now(store.get_expired_sessions(START, limit=10))
    (step,) = plan(store, statements)
    assert step.startswith("SEARCH sessions USING COVERING INDEX sessions_by_expiry (namespace=?")


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_the_synchronous_option_reaches_the_connection(opens: Opens, synchronous: str, level: int) -> None:
    store = opens(synchronous=synchronous)

    def ask(connection: sqlite3.Connection) -> list[tuple[int, int]]:
        return connection.execute("SELECT * FROM pragma_synchronous, pragma_foreign_keys").fetchall()

    assert store._connections.read("test", ask) == [(level, 1)]


def test_no_statement_stays_open_after_a_read(store: SqliteStorage) -> None:
    """A half-read statement would keep its snapshot, and the log could never be emptied."""
    talk(store, 50)
    run_now(store.get_messages("s", MessageQuery(limit=3)))
    run_now(store.list_sessions(SessionFilter(), limit=1))
    contents(store)

    def checkpoint(connection: sqlite3.Connection) -> tuple[int, int, int]:
        ((busy, in_log, moved),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return busy, in_log, moved

    assert store._connections.read("test", checkpoint) == (0, 0, 0)
