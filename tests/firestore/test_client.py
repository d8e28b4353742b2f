"""The client: Google's own clients, processes that fork, connections that are dead, and what is refused."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from session_continuity import (
    ConfigError,
    StorageAdapter,
    StorageError,
    UnavailableError,
    default_registry,
    portable,
    run_now,
)
from session_continuity_conformance.faults.proxy import Proxy
from session_continuity_firestore import FirestoreStorage

from ..kit.conversations import new_session, stored_contents
from ..kit.modes import MODES
from .bench import Bench, driver_of
from .freezer import Freezer

FORKER = Path(__file__).parent / "programs" / "forker.py"


@pytest.mark.on(mode=MODES)
def test_a_client_of_google_is_used_and_stays_open(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.cloud import firestore

    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", bench.emulator)
    kind: Any = firestore.AsyncClient if bench.mode == "async" else firestore.Client

    async def use() -> None:
        client = kind(project=bench.project)
        store = portable(FirestoreStorage(client=client))
        assert store.mode == bench.mode
        await store.create_session(new_session("s"))
        await store.close()
        snapshot = client.collection("sessions").document("s").get()
        found = await snapshot if bench.mode == "async" else snapshot
        assert found.to_dict()["id"] == "s"

    bench.run(use())


def test_another_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="AsyncClient, not int"):
        FirestoreStorage(client=7)


def test_the_emulator_of_the_environment_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", bench.emulator)
    store = FirestoreStorage(project=bench.project)
    assert run_now(store.health()).status == "healthy"
    run_now(store.close())


def test_a_forked_process_opens_its_own_connection(bench: Bench) -> None:
    done = subprocess.run([sys.executable, FORKER, bench.url], timeout=120, check=False)
    assert done.returncode == 0
    assert stored_contents(bench.open(), "s") == ["before", "of the child", "of the parent"]


@pytest.mark.on(mode=MODES)
def test_a_dead_connection_is_replaced(bench: Bench) -> None:
    """gRPC does not notice that a connection is dead, and a new channel would get the same one."""
    with Freezer(bench.emulator) as freezer:
        store = bench.open(emulator_host=freezer.address, timeout=4.0)
        session = bench.create(store)
        freezer.freeze()
        assert bench.run(store.get_session(session.id)) == session
        assert freezer.accepted == 2
        bench.run(store.close())


@pytest.fixture
def proxied(bench: Bench) -> Iterator[tuple[Proxy, StorageAdapter]]:
    """A store behind a proxy."""
    host, _, port = bench.emulator.rpartition(":")
    with Proxy(host, int(port)) as proxy:
        store = bench.open(emulator_host=f"{proxy.host}:{proxy.port}", timeout=4.0)
        yield proxy, store


def test_an_append_that_was_moved_in_time_and_whose_reply_was_lost_is_stored_once(
    bench: Bench, proxied: tuple[Proxy, StorageAdapter]
) -> None:
    """Its messages got new ids when it was first sent. The second attempt must know them."""
    proxy, store = proxied
    session = bench.create(store)
    bench.append(store, session, 1)
    late = bench.says(session, "late", created_at=bench.clock() - timedelta(seconds=1))
    proxy.plan("lose the reply")
    appended = bench.run(store.append_messages(session.id, [late]))
    assert proxy.unplan()
    assert not appended.repeated
    assert stored_contents(bench.open(), session.id) == ["0", "late"]


def test_a_clear_whose_reply_was_lost_counts_what_it_removed(
    bench: Bench, proxied: tuple[Proxy, StorageAdapter]
) -> None:
    proxy, store = proxied
    session = bench.create(store)
    bench.append(store, session, 7)
    proxy.plan("lose the reply", after=1)
    assert bench.run(store.delete_all_messages(session.id)) == 7
    assert proxy.unplan()


def test_close_ends_the_threads_and_the_store(bench: Bench) -> None:
    before = set(threading.enumerate())
    store = bench.open()
    bench.create(store)
    bench.run(store.close())
    assert set(threading.enumerate()) <= before
    with pytest.raises(StorageError, match="closed"):
        bench.run(store.get_session("s"))


def test_a_server_that_is_away_is_unavailable() -> None:
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        store = portable(FirestoreStorage(project="p", emulator_host=f"127.0.0.1:{held.getsockname()[1]}"))
        with pytest.raises(UnavailableError):
            run_now(store.get_session("s"))
        assert run_now(store.health()).status == "unhealthy"
        run_now(store.close())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("firestore://user:secret@p", "does not take credentials"),
        ("firestore://p?credentials=secret", "does not take credentials"),
        ("firestore://", "name the project"),
        ("firestore://p:8080", "has no port"),
        ("firestore://p?emulator_host=secret", "emulator_host: must be host:port"),
        ("firestore://p?colection=x", "did you mean collection"),
    ],
)
def test_a_wrong_url_is_refused_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        default_registry().create(url, "blocking")
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_url_names_project_database_and_collection() -> None:
    wrapped = default_registry().create("firestore://my-project/chat?collection=talks&emulator_host=h:1", "blocking")
    names = driver_of(wrapped).context.names
    assert names.session("s") == "projects/my-project/databases/chat/documents/talks/s"
    assert names.with_namespace("a/b").session("s").endswith("/documents/namespaces/a.0b/talks/s")
