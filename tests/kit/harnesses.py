"""Harnesses that start servers for the conformance suite.

For example: `session-continuity conformance --harness tests.kit.harnesses:redis`. Where the server is not installed a
harness yields no stores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from .dynamodb_engines import IDENTITY, MissingEngineError, run_engine
from .firestore_emulator import MissingEmulatorError, new_project, run_emulator
from .missing import no_stores
from .redis_cluster import Cluster
from .redis_servers import NEEDED, Server, find_engines


@contextmanager
def redis() -> Iterator[str | list[str]]:
    """One Redis server, which writes every command to its append-only file."""
    program = next(iter(find_engines().values()), None)
    if program is None:
        yield no_stores(f"redis: {NEEDED}")
        return
    with TemporaryDirectory() as folder:
        server = Server(program, Path(folder), "--appendonly", "yes").start()
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def redis_cluster() -> Iterator[str | list[str]]:
    """A Redis cluster of three primaries."""
    program = next(iter(find_engines().values()), None)
    if program is None:
        yield no_stores(f"redis+cluster: {NEEDED}")
        return
    with TemporaryDirectory() as folder:
        cluster = Cluster(program, Path(folder)).start()
        try:
            yield cluster.url
        finally:
            cluster.stop()


@contextmanager
def dynamodb() -> Iterator[str | list[str]]:
    """DynamoDB Local, in memory."""
    os.environ.update(IDENTITY)
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(run_engine("local"))
        except MissingEngineError as missing:
            yield no_stores(f"dynamodb: {missing}")
            return
        options = {name: str(value).lower() for name, value in engine.options.items()}
        yield f"dynamodb://conversations?{urlencode({**options, 'endpoint_url': engine.url})}"


@contextmanager
def postgres() -> Iterator[str | list[str]]:
    """One PostgreSQL server, which does not wait for the disk."""
    from .postgres_servers import MissingServerError, postgres_server  # needs psycopg, which other stores do not

    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server())
        except MissingServerError as missing:
            yield no_stores(f"postgresql: {missing}")
            return
        yield server.url


@contextmanager
def postgres_pooled() -> Iterator[str | list[str]]:
    """One PostgreSQL server behind PgBouncer, which gives each transaction to another server connection."""
    from .postgres_servers import MissingServerError, pgbouncer, postgres_server

    with ExitStack() as stack:
        try:
            url = stack.enter_context(pgbouncer(stack.enter_context(postgres_server())))
        except MissingServerError as missing:
            yield no_stores(f"postgresql behind PgBouncer: {missing}")
            return
        yield url


@contextmanager
def firestore() -> Iterator[str | list[str]]:
    """Google's Firestore emulator, in memory."""
    with ExitStack() as stack:
        try:
            address = stack.enter_context(run_emulator())
        except MissingEmulatorError as missing:
            yield no_stores(f"firestore: {missing}")
            return
        yield f"firestore://{new_project()}?emulator_host={address}"
