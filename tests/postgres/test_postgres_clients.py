"""Poolers, clients of an application, event loops, and servers with other defaults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest

from session_continuity import (
    AsyncSessionManager,
    ConfigError,
    MessageQuery,
    SessionManager,
    StorageAdapter,
    ThrottledError,
    portable,
    run_now,
    utc_now,
)
from session_continuity_postgres import PostgresStorage
from session_continuity_postgres.connections import PREPARE_AFTER

from ..kit.conversations import Speaker, contents, new_session
from ..kit.load import Load, check_history
from ..kit.postgres_servers import PostgresServer
from ..kit.threads import run_in_threads
from .conftest import Bench


async def prepared(connection: Any) -> int | None:
    """After how many uses this connection prepares a statement."""
    threshold: int | None = connection.prepare_threshold
    return threshold


def test_statements_are_prepared_unless_a_pooler_is_in_between(
    server: PostgresServer, bouncer: str, opened: Callable[[str], Bench]
) -> None:
    for url, expected in {
        server.url: PREPARE_AFTER,
        bouncer: None,
        f"{bouncer}?prepare=true": PREPARE_AFTER,
        f"{server.url}?prepare=false": None,
    }.items():
        bench = opened(url)
        assert bench(bench.driver.native.connections.run(prepared)) == expected, url


def test_many_clients_of_one_pooler_get_their_own_answers(bouncer: str, namespace: str) -> None:
    """Each reads its own session by the same statements, over four connections of the pooler."""
    url = f"{bouncer}?namespace={namespace}"
    with SessionManager.open(url) as manager:
        for number in range(6):
            manager.create_session(id=f"s{number}", user_id=f"u{number}")

    def read(number: int) -> set[tuple[str, str | None]]:
        with SessionManager.open(url) as manager:
            found: set[tuple[str, str | None]] = set()
            for _ in range(30):
                session = manager.get_session(f"s{number}")
                found.add((session.id, session.user_id))
                manager.add_message(session.id, "user", f"{number}")
            return found | {(str(content), None) for content in contents(manager.get_messages(f"s{number}"))}

    results = run_in_threads([lambda number=number: read(number) for number in range(6)])  # type: ignore[misc]
    assert results == [{(f"s{number}", f"u{number}"), (f"{number}", None)} for number in range(6)]


def use(store: StorageAdapter) -> Any:
    """Set up, write and read by a store."""

    async def work() -> list[Any]:
        speaker = Speaker(clock=utc_now)
        await store.setup()
        await store.delete_session("s")
        await store.create_session(new_session("s", now=utc_now()))
        for text in ("one", "two"):
            await store.append_messages("s", [speaker.says(text)])
        found = contents(await store.get_messages("s", MessageQuery()))
        await store.close()
        return found

    return work()


def connected(server: PostgresServer, **arguments: Any) -> str:
    return psycopg.conninfo.make_conninfo(host="127.0.0.1", port=server.port, user="postgres", **arguments)


def test_a_store_on_a_pool_of_the_application(server: PostgresServer, namespace: str) -> None:
    rows = {"row_factory": psycopg.rows.dict_row}
    with psycopg_pool.ConnectionPool(connected(server), min_size=1, max_size=2, kwargs=rows, open=True) as pool:
        assert run_now(use(portable(PostgresStorage(pool, namespace=namespace)))) == ["one", "two"]
        with pool.connection() as connection:  # it is still open
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_an_asyncio_store_on_a_pool_of_the_application(server: PostgresServer, namespace: str) -> None:
    async def program() -> None:
        pool = psycopg_pool.AsyncConnectionPool(connected(server), min_size=1, max_size=2, open=False)
        async with pool:
            assert await use(portable(PostgresStorage(pool, namespace=namespace))) == ["one", "two"]

    asyncio.run(program())


def test_a_store_on_a_connection_of_the_application(server: PostgresServer, namespace: str) -> None:
    with server.client() as connection:
        assert run_now(use(portable(PostgresStorage(connection, namespace=namespace)))) == ["one", "two"]
        assert not connection.closed


def test_a_connection_that_begins_transactions_is_refused(server: PostgresServer) -> None:
    with psycopg.connect(connected(server)) as connection, pytest.raises(ConfigError, match="autocommit"):
        PostgresStorage(connection)


def test_something_else_than_a_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a connection of psycopg or a pool of psycopg_pool, not str"):
        PostgresStorage("postgresql://localhost/x")


def test_a_pool_that_has_no_free_connection_is_throttling(server: PostgresServer, namespace: str) -> None:
    with (
        psycopg_pool.ConnectionPool(connected(server), min_size=1, max_size=1, timeout=0.2, open=True) as pool,
        pool.connection(timeout=30),
        pytest.raises(ThrottledError),
    ):
        run_now(use(portable(PostgresStorage(pool, namespace=namespace))))


def test_a_store_serves_several_event_loops_at_once(server: PostgresServer, namespace: str) -> None:
    async def program(manager: AsyncSessionManager, name: str) -> None:
        for number in range(10):
            await manager.add_message("s", "user", f"{name} {number}")

    async def main() -> list[Any]:
        async with AsyncSessionManager.open(f"{server.url}?namespace={namespace}") as manager:
            await manager.create_session(id="s")
            others = [threading.Thread(target=lambda n=n: asyncio.run(program(manager, str(n)))) for n in range(2)]
            for other in others:
                other.start()
            await program(manager, "here")
            for other in others:
                await asyncio.to_thread(other.join)
            return contents(await manager.get_messages("s"))

    stored = asyncio.run(main())
    assert sorted(stored) == sorted(f"{name} {number}" for name in ("0", "1", "here") for number in range(10))


@pytest.mark.parametrize(
    "settings",
    [
        {"default_transaction_isolation": "'repeatable read'"},
        {"default_transaction_isolation": "serializable"},
        {"TimeZone": "'Asia/Kolkata'", "DateStyle": "'SQL, DMY'", "extra_float_digits": "-15"},
    ],
    ids=["repeatable read", "serializable", "formats"],
)
def test_a_server_with_other_defaults(server: PostgresServer, namespace: str, settings: dict[str, str]) -> None:
    server.execute(
        f"CREATE ROLE {namespace} LOGIN SUPERUSER",
        *(f"ALTER ROLE {namespace} SET {name} = {value}" for name, value in settings.items()),
    )
    url = f"postgresql://{namespace}@127.0.0.1:{server.port}/postgres?namespace={namespace}"
    with SessionManager.open(url, ttl=3600.123456789, expiry="sliding") as manager:
        created = manager.create_session(id="s")
        assert created.sliding_ttl == 3600.123456789
        load = Load(url, "s")
        load.wait_for(60)
        check_history(url, "s", load.stop())
        assert load.errors == []
        found = manager.get_session("s")
        assert found.sliding_ttl == created.sliding_ttl
        assert found.created_at == created.created_at
        forked = manager.fork_session("s")
        assert contents(manager.get_messages(forked.id)) == contents(manager.get_messages("s"))


def test_an_unusual_text_is_stored_as_it_is(bench: Bench) -> None:
    """NUL, which PostgreSQL's texts cannot have, and what stands in its place."""
    odd = ["a\0b", "a\1b", "a\1\1b", "a\1\2b", "a", "a\0", "\\u0001\1", "a\2", "ab"]
    for text in odd:
        session = new_session(text, now=utc_now(), user_id=text, active_agent_id=text, metadata={"tags": [text]})
        bench(bench.store.create_session(session))
        message = bench.speaker.says(text, role="system").model_copy(update={"session_id": text, "id": text})
        bench(bench.store.append_messages(text, [message], client_ids=[text]))
        found = bench(bench.store.get_session(text))
        assert found is not None
        assert (found.id, found.user_id, found.active_agent_id) == (text, text, text)
        assert found.system_message_ids == [text]
        assert contents(bench(bench.store.get_messages(text, MessageQuery(ids=frozenset([text]))))) == [text]
