"""Set-up: several processes at once, without the right to create tables, and what health and the commands say."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from session_continuity import ConfigError, SessionManager, StorageError, utc_now
from session_continuity_postgres import schema
from session_continuity_postgres.connections import transaction

from ..kit.conversations import new_session
from ..kit.modes import ModeRunner
from ..kit.postgres_servers import PostgresServer
from ..kit.waiting import wait_until
from .conftest import Bench

PROCESSES = 8


@pytest.fixture
def runner() -> Iterator[ModeRunner]:
    """Blocking code alone: what differs from asyncio is not in what is tested here."""
    made = ModeRunner("blocking")
    yield made
    made.close()


OPEN = """
import sys
from session_continuity import SessionManager
print("ready", flush=True)
sys.stdin.readline()
with SessionManager.open(sys.argv[1]) as manager:
    manager.create_session(user_id="u")
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "session_continuity", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_several_processes_open_an_empty_database_at_once(server: PostgresServer, namespace: str) -> None:
    url = f"{server.url}?schema={namespace}"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        _, errors = program.communicate(timeout=120)
        assert program.returncode == 0, errors
    assert server.execute(f"SELECT version FROM {namespace}.layout") == [(schema.VERSION,)]
    with SessionManager.open(url) as manager:
        assert len(manager.list_sessions(user_id="u")) == PROCESSES


def test_a_migration_that_fails_leaves_nothing(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "migration", lambda *_: [f"CREATE TABLE {namespace}.half ()", "SELECT 1/0"])
    with pytest.raises(StorageError):
        opened(f"{server.url}?schema={namespace}")
    assert server.execute(f"SELECT 1 FROM pg_namespace WHERE nspname = '{namespace}'") == []


def test_an_application_without_the_right_to_create_works_on_printed_tables(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    owner = f"{server.url}?schema={namespace}"
    printed = command("postgres", "schema", owner)
    assert printed.returncode == 0, printed.stderr
    with server.client() as connection:
        connection.execute(printed.stdout.encode())
    server.execute(
        f"CREATE ROLE {namespace} LOGIN",
        f"GRANT USAGE ON SCHEMA {namespace} TO {namespace}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {namespace}.sessions, {namespace}.messages TO {namespace}",
        f"GRANT SELECT ON {namespace}.layout TO {namespace}",
    )
    bench = opened(f"postgresql://{namespace}@127.0.0.1:{server.port}/postgres?schema={namespace}&create=false")
    bench(bench.store.create_session(new_session("s", now=utc_now())))
    bench(bench.store.append_messages("s", [bench.speaker.says("hello")]))
    assert "turn fsync and synchronous_commit on" in str(bench(bench.store.health()).remedy)
    described = command("postgres", "describe", owner.replace("postgres@", f"{namespace}@"))
    assert f"schema {namespace}, version {schema.VERSION}" in described.stdout


def test_without_tables_and_the_right_to_create_them_setup_says_what_to_do(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    with pytest.raises(StorageError, match="session-continuity postgres schema"):
        opened(f"{server.url}?schema={namespace}&create=false")
    described = command("postgres", "describe", f"{server.url}?schema={namespace}")
    assert described.returncode == 1
    assert "has no tables of this store" in described.stderr


def test_health_and_describe_name_what_is_missing(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    bench = opened(f"{server.url}?schema={namespace}")
    server.execute(f"DROP INDEX {namespace}.sessions_by_user", f"DROP FUNCTION {namespace}.heads_1")
    status = bench(bench.store.health())
    assert status.status == "degraded"
    assert status.details["missing"] == ["function heads_1", "index sessions_by_user"]
    described = command("postgres", "describe", f"{server.url}?schema={namespace}")
    assert described.returncode == 1
    assert "lacks function heads_1, index sessions_by_user" in described.stderr


def test_health_names_a_permission_that_is_missing(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    opened(f"{server.url}?schema={namespace}")
    server.execute(
        f"CREATE ROLE {namespace} LOGIN",
        f"GRANT USAGE ON SCHEMA {namespace} TO {namespace}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {namespace} TO {namespace}",
        f"GRANT INSERT, UPDATE ON {namespace}.messages, {namespace}.sessions TO {namespace}",
    )
    reader = opened(f"postgresql://{namespace}@127.0.0.1:{server.port}/postgres?schema={namespace}")
    status = reader(reader.store.health())
    assert status.status == "degraded"
    assert status.remedy == "this user may not use messages delete, sessions delete; grant it"


def test_a_healthy_server_is_healthy(own_server: PostgresServer, opened: Callable[[str], Bench]) -> None:
    bench = opened(own_server.url)
    status = bench(bench.store.health())
    assert (status.status, status.remedy) == ("healthy", None)
    described = command("postgres", "describe", own_server.url)
    assert described.returncode == 0, described.stderr
    assert "the schema matches" in described.stdout


def test_a_database_of_another_encoding_is_refused(server: PostgresServer, opened: Callable[[str], Bench]) -> None:
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = 'latin'"):
        server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StorageError, match="encoded as LATIN1; create one with ENCODING 'UTF8'"):
        opened(f"postgresql://postgres@127.0.0.1:{server.port}/latin")


def test_tables_of_a_newer_version_serve(
    server: PostgresServer, opened: Callable[[str], Bench], namespace: str
) -> None:
    """A process of this version goes on beside a migrated schema, because migrations only add."""
    first = opened(f"{server.url}?schema={namespace}")
    first(first.store.create_session(new_session("s", now=utc_now())))
    server.execute(
        f"ALTER TABLE {namespace}.sessions ADD COLUMN new_fact text",
        f"ALTER TABLE {namespace}.messages ADD COLUMN new_fact text DEFAULT 'x'",
        f"INSERT INTO {namespace}.layout (version) VALUES ({schema.VERSION + 1})",
    )
    for bench in (first, opened(f"{server.url}?schema={namespace}")):
        bench(bench.store.append_messages("s", [bench.speaker.says("hello")]))
        assert bench(bench.store.get_session("s")) is not None
    assert server.execute(f"SELECT count(*) FROM {namespace}.messages WHERE new_fact = 'x'") == [(2,)]


def test_a_failed_transaction_is_rolled_back(bench: Bench, runner: ModeRunner) -> None:
    async def fail(connection: object) -> None:
        async with transaction(connection):  # type: ignore[arg-type]
            raise psycopg.DataError("on purpose")

    with pytest.raises(psycopg.DataError, match="on purpose"):
        runner.run(bench.driver.native.connections.run(fail))
    runner.run(bench.driver.setup())


def test_a_command_refuses_another_stores_url() -> None:
    refused = command("postgres", "schema", "sqlite:///x.db")
    assert refused.returncode != 0
    assert "needs a postgresql:// URL" in refused.stderr


def test_a_wrong_schema_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="option schema"):
        asyncio.run(_open("postgresql://localhost/x?schema=Robert%27%29%3B"))


async def _open(url: str) -> None:
    from session_continuity import Registry

    Registry().create(url, "async")


@pytest.fixture
def certificate(own_server: PostgresServer) -> str:
    """The file of the certificate, for another host, which the server has from now on."""
    file, key = own_server.data / "other.crt", own_server.data / "other.key"
    subject = ["-subj", "/CN=db.example", "-addext", "subjectAltName=DNS:db.example"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(file)], check=True, capture_output=True)
    for each in (file, key):
        shutil.chown(each, own_server.data.owner())
    own_server.execute(
        "ALTER SYSTEM SET ssl_cert_file = 'other.crt'",
        "ALTER SYSTEM SET ssl_key_file = 'other.key'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    )
    wait_until(lambda: own_server.execute("SHOW ssl") == [("on",)], "TLS", seconds=30)
    return str(file)


def test_a_certificate_that_does_not_fit_is_named_and_no_passing_failure(
    own_server: PostgresServer, certificate: str
) -> None:
    for options, told in (
        (f"sslmode=verify-full&sslrootcert={certificate}", "is for another host; name that host in the URL"),
        ("sslmode=verify-full&sslrootcert=/missing.pem", "wants a certificate to trust"),
    ):
        with pytest.raises(StorageError, match=told) as caught:
            SessionManager.open(f"{own_server.url}?{options}")
        assert not caught.value.retryable
    with SessionManager.open(f"{own_server.url}?sslmode=verify-ca&sslrootcert={certificate}") as manager:
        assert manager.create_session().version == 1
