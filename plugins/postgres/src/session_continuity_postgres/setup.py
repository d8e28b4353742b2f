"""How a database gets the tables: by migrations, in one transaction, safe for several processes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from session_continuity import StorageError
from session_continuity_postgres import schema
from session_continuity_postgres.connections import Connection, Connections, transaction
from session_continuity_postgres.errors import needs_setup

# The lock ends with the transaction, so it also holds behind a pooler.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('session-continuity {schema}', 0))"

_EXISTS = "SELECT to_regnamespace('{schema}') IS NOT NULL, to_regclass('{schema}.layout') IS NOT NULL"

_VERSION = "SELECT max(version) FROM {schema}.layout"

_STATE = """
    SELECT current_setting('server_version'), current_setting('server_encoding'),
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
        current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off',
        ARRAY(SELECT DISTINCT CASE c.relkind WHEN 'r' THEN 'table ' ELSE 'index ' END || c.relname
            FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind IN ('r', 'i')),
        ARRAY(SELECT DISTINCT 'function ' || p.proname
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = to_regnamespace('{schema}')),
        ARRAY(SELECT c.relname || ' ' || lower(w.need) FROM pg_catalog.pg_class c
            CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) w (need)
            WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname IN ('sessions', 'messages')
            AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, w.need))"""

OLDEST_SERVER = 13


@dataclass(frozen=True, slots=True)
class State:
    """What a server says about itself and about the schema."""

    server: str
    encoding: str
    read_only: bool
    durable: bool
    missing: list[str]
    forbidden: list[str]
    version: int | None


async def prepare(connections: Connections, name: str, *, create: bool) -> None:
    """Bring the schema to this code's version. A newer one is left as it is, because migrations only add.

    Raises StorageError where that is not possible, and says what to do.
    """
    version = await connections.run(lambda connection: _version(connection, name))
    if version is not None and version >= schema.VERSION:
        return
    if not create:
        state = "has no tables of this store" if version is None else f"is at version {version}"
        raise StorageError(
            f"schema {name} {state}; let its owner run the output of `session-continuity postgres schema`, or open the "
            "store once with create=true"
        )
    await connections.run(lambda connection: _migrate(connection, name))


async def state(connections: Connections, name: str) -> State:
    """What the server says."""
    return await connections.run(lambda connection: _state(connection, name))


async def _version(connection: Connection, name: str) -> int | None:
    """The version of the schema, None where there is none."""
    try:
        rows = await connection.fetch(_VERSION.replace("{schema}", name).encode(), prepare=False)
    except psycopg.Error as error:
        if not needs_setup(error):
            raise
        return None
    version: int | None = rows[0][0]
    return version


async def _migrate(connection: Connection, name: str) -> None:
    async def fetch(text: str) -> list[tuple[Any, ...]]:
        return await connection.fetch(text.replace("{schema}", name).encode(), prepare=False)

    async with transaction(connection):
        await fetch(_LOCK)
        ((server, encoding),) = await fetch(
            "SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_encoding')"
        )
        if server < OLDEST_SERVER:
            raise StorageError(f"this server is PostgreSQL {server}; session-continuity needs {OLDEST_SERVER} or newer")
        if encoding != "UTF8":
            raise StorageError(f"the database is encoded as {encoding}; create one with ENCODING 'UTF8'")
        ((has_schema, has_layout),) = await fetch(_EXISTS)
        if not has_schema:
            await fetch("CREATE SCHEMA {schema}")
        done = (await fetch(_VERSION))[0][0] or 0 if has_layout else 0
        for number in range(done + 1, schema.VERSION + 1):
            for statement in schema.migration(number, name):
                await fetch(statement)


async def _state(connection: Connection, name: str) -> State:
    ((server, encoding, read_only, durable, relations, functions, forbidden),) = await connection.fetch(
        _STATE.replace("{schema}", name).encode(), prepare=False
    )
    present = {*relations, *functions}
    expected = {" ".join(part) for part in schema.expected_objects()}
    missing = sorted(expected - present)
    version = None if "table layout" in missing else await _version(connection, name)
    return State(server, encoding, read_only, durable, missing, forbidden, version)


def problem(found: State, name: str) -> str | None:
    """What is wrong with a schema and what to do, None if nothing is."""
    if len(found.missing) == len(schema.expected_objects()):
        return f"schema {name} has no tables of this store; call setup(), or run `session-continuity postgres schema`"
    if found.version is not None and found.version < schema.VERSION:
        return f"schema {name} is at version {found.version}, not {schema.VERSION}; call setup()"
    if found.missing:
        return f"schema {name} lacks {', '.join(found.missing)}; restore it from a backup"
    if found.forbidden:
        return f"this user may not use {', '.join(found.forbidden)}; grant it"
    if found.read_only:
        return "the server is read-only, most likely a standby; connect to the primary"
    if not found.durable:
        return "an acknowledged message may be lost when the server crashes: turn fsync and synchronous_commit on"
    return None
