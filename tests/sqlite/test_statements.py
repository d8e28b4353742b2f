"""What each call asks of SQLite: how many statements and transactions, and by which index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import (
    ListingPlace,
    MessageQuery,
    Patch,
    SessionFilter,
    SessionManager,
    StorageAdapter,
    encode_cursor,
    run_now,
)

from ..kit.clocks import START, TickingClock
from ..kit.conversations import EVERYTHING, Speaker, new_session, store_session, stored_contents
from .pools import pool_of, traced, verbs

if TYPE_CHECKING:
    from .conftest import OpenStore


def plan(store: StorageAdapter, statements: list[str]) -> list[str]:
    """How SQLite runs these statements, a line for each step."""

    def explain(connection: sqlite3.Connection) -> list[str]:
        return [row[3] for text in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]

    return pool_of(store).read(explain)


@pytest.mark.parametrize("count", [1, 5])
def test_an_append_is_one_transaction_that_reads_nothing_first(store: StorageAdapter, count: int) -> None:
    store_session(store, 10)
    speaker = Speaker(clock=TickingClock(START + timedelta(hours=1)))
    batch = [speaker.says("hello") for _ in range(count)]
    with traced(store) as statements:
        run_now(store.append_messages("s", batch))
    assert verbs(statements) == ["BEGIN", "UPDATE", *["INSERT"] * count, "COMMIT"]


def test_the_last_messages_are_one_statement(store: StorageAdapter) -> None:
    store_session(store, 30)
    with traced(store) as statements:
        page = run_now(store.get_messages("s", MessageQuery(order="desc", limit=20)))
    assert len(page) == 20
    assert verbs(statements) == ["SELECT"]
    assert plan(store, statements)[0] == "SEARCH messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


def test_reads_are_one_statement_each(store: StorageAdapter) -> None:
    said = store_session(store, 3)
    with traced(store) as statements:
        run_now(store.get_session("s"))
        run_now(store.get_message("s", said[1].id))
        run_now(store.list_sessions(SessionFilter(), limit=10))
        run_now(store.get_expired_sessions(START, limit=10))
        run_now(store.get_messages("s", EVERYTHING))
    assert verbs(statements) == ["SELECT"] * 5


def test_an_edit_that_keeps_its_tokens_and_role_leaves_session_and_indexes_alone(store: StorageAdapter) -> None:
    said = store_session(store, 3)
    with traced(store) as statements:
        run_now(store.update_message("s", said[1].id, Patch(set={"content": "edited"})))
    assert verbs(statements) == ["BEGIN", "SELECT", "UPDATE", "COMMIT"]
    assert statements[2].startswith(
        "UPDATE messages SET tokens = 1, content = 'edited', metadata = NULL, body = NULL WHERE"
    )


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
    store: StorageAdapter, query: MessageQuery, further: bool
) -> None:
    run_now(store.create_session(new_session()))
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
    "title": SessionFilter(title="x"),
    "oldest": SessionFilter(user_id="u", order="oldest"),
    "recent": SessionFilter(user_id="u", order="recent"),
    "idle, both": SessionFilter(user_id="u", active_agent_id="a", order="idle"),
    "behind": SessionFilter(user_id="u", order="recent", behind=ListingPlace("2026", "s")),
}


@pytest.mark.parametrize("filter_", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("further", [False, True], ids=["first page", "further page"])
def test_a_listing_follows_an_index_and_sorts_nothing(
    store: StorageAdapter, filter_: SessionFilter, further: bool
) -> None:
    cursor = encode_cursor(["2026", "x"], bound_to=filter_.key()) if further else None
    with traced(store) as statements:
        run_now(store.list_sessions(filter_, limit=10, cursor=cursor))
    steps = plan(store, statements)
    by = "user" if filter_.user_id else "agent" if filter_.active_agent_id else "time"
    activity = "_activity" if filter_.is_by_activity else ""
    assert steps[0].startswith(f"SEARCH sessions USING INDEX sessions_by_{by}{activity} (namespace=?")
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN sessions")]


@pytest.mark.parametrize("scope", [{}, {"active_agent_id": "a"}], ids=["everything", "agent"])
def test_sessions_of_all_users_are_sorted_for_a_page_by_activity(store: StorageAdapter, scope: Any) -> None:
    with traced(store) as statements:
        run_now(store.list_sessions(SessionFilter(order="recent", **scope), limit=10))
    steps = plan(store, statements)
    assert verbs(statements) == ["SELECT"]
    by = "agent" if scope else "time"
    assert steps[0].startswith(f"SEARCH sessions USING INDEX sessions_by_{by} (namespace=?")
    assert [step for step in steps if "TEMP B-TREE" in step] == ["USE TEMP B-TREE FOR ORDER BY"]


def test_the_order_by_activity_costs_an_append_two_pages(database: Path) -> None:
    """Each append moves the session from one leaf of the index to another."""
    with SessionManager.open(f"sqlite:///{database}") as manager, closing(sqlite3.connect(database)) as connection:
        ids = [manager.create_session(user_id=f"u{number % 20}").id for number in range(600)]

        def pages_of_appends() -> int:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for session_id in ids[::20]:
                manager.add_message(session_id, "user", "hello")
            header, page = 32, 24 + 4096
            return (database.with_name(f"{database.name}-wal").stat().st_size - header) // page

        with_index = pages_of_appends()
        connection.execute("DROP INDEX sessions_by_user_activity")
        connection.commit()
        assert 0 < with_index - pages_of_appends() <= 2 * len(ids[::20])


def test_expired_sessions_come_from_their_index_alone(store: StorageAdapter) -> None:
    with traced(store) as statements:
        run_now(store.get_expired_sessions(START, limit=10))
    (step,) = plan(store, statements)
    assert step.startswith("SEARCH sessions USING COVERING INDEX sessions_by_expiry (namespace=?")


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_the_synchronous_option_reaches_the_connection(open_store: OpenStore, synchronous: str, level: int) -> None:
    store = open_store(synchronous=synchronous)

    def ask(connection: sqlite3.Connection) -> list[tuple[int, int]]:
        return connection.execute("SELECT * FROM pragma_synchronous, pragma_foreign_keys").fetchall()

    assert pool_of(store).read(ask) == [(level, 1)]


def test_no_statement_stays_open_after_a_read(store: StorageAdapter) -> None:
    """A half-read statement would keep its snapshot, and the log could never be emptied."""
    store_session(store, 50)
    run_now(store.get_messages("s", MessageQuery(limit=3)))
    run_now(store.list_sessions(SessionFilter(), limit=1))
    stored_contents(store)

    def checkpoint(connection: sqlite3.Connection) -> tuple[int, int, int]:
        ((busy, in_log, moved),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return busy, in_log, moved

    assert pool_of(store).read(checkpoint) == (0, 0, 0)
