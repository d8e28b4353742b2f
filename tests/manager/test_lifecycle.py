"""Who opens closes; closing twice, failing to open, and being used by the wrong mode."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session_continuity import (
    AsyncSessionManager,
    BackendOptions,
    ConfigError,
    Mode,
    Registry,
    SessionManager,
    Storage,
    StorageAdapter,
    StorageClosedError,
    UnavailableError,
    open_async_storage,
    open_storage,
)
from session_continuity.backends.modes import ThreadedAdapter
from session_continuity_memory import MemoryStorage

from ..kit.clocks import Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)

MODES: tuple[Mode, ...] = ("async", "blocking")


class Options(BackendOptions):
    """No options."""


class Backend:
    """A backend `test://` whose stores are watched; it offers only the modes it is told to."""

    scheme = "test"
    api_version = (1, 0)
    options = Options

    def __init__(self, *modes: Mode) -> None:
        self.modes = frozenset[Mode](modes or ("async", "blocking"))
        self.made: list[RecordingAdapter] = []
        self.prepare: Callable[[RecordingAdapter], None] = print

    def capabilities(self, options: Options) -> Any:
        del options
        return MemoryStorage().capabilities

    def create(self, options: Options, mode: Mode) -> StorageAdapter:
        del options
        store = RecordingAdapter(MemoryStorage(mode=mode))
        self.prepare(store)
        self.made.append(store)
        return store


@pytest.fixture
def backend() -> Backend:
    return Backend()


def registered(backend: Backend) -> Registry:
    registry = Registry()
    registry.register_backend(backend)
    return registry


def test_what_a_manager_opened_it_sets_up_once_and_closes(variant: Variant, backend: Backend) -> None:
    manager = variant.open("test://", registry=registered(backend))
    with manager as entered:
        assert entered is manager
        manager.create_session()
    [store] = backend.made
    assert store.calls == ["setup", "create_session", "close"]
    with pytest.raises(StorageClosedError):
        manager.create_session()


def test_a_manager_told_so_sets_nothing_up(variant: Variant, backend: Backend) -> None:
    with variant.open("test://", registry=registered(backend), setup=False) as manager:
        manager.list_sessions()
    [store] = backend.made
    assert store.calls == ["list_sessions", "close"]
    with pytest.raises(ConfigError, match="setup must be True or False"):
        variant.open("test://", registry=registered(backend), setup="no")


def test_a_manager_works_without_with_until_it_is_closed(variant: Variant, backend: Backend) -> None:
    manager = variant.open("test://", registry=registered(backend))
    session = manager.create_session()
    assert manager.get_session(session.id) == session
    manager.close()
    with pytest.raises(StorageClosedError):
        manager.get_session(session.id)


def test_closing_twice_is_no_error(variant: Variant, store: RecordingAdapter) -> None:
    opened, handed = variant.open(), variant.manager(store)
    for manager in (opened, handed):
        manager.create_session()
        manager.close()
        manager.close()
    with variant.open() as manager:
        manager.close()


def test_a_storage_that_was_handed_in_stays_open(variant: Variant, store: RecordingAdapter) -> None:
    first = variant.manager(store)
    with first:
        session = first.create_session()
    assert "close" not in store.calls
    assert variant.manager(store).get_session(session.id) == session
    assert first.get_session(session.id) == session


def test_a_manager_can_be_closed_after_its_storage(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store, cleanup_interval=3600)
    manager.create_session()
    if variant.is_async:
        variant.run(manager.inner._storage.close)  # type: ignore[attr-defined]
    else:
        manager._storage.close()
    manager.close()


def test_a_store_that_cannot_be_set_up_is_closed_again(variant: Variant, backend: Backend) -> None:
    async def refuse() -> None:
        raise UnavailableError("down", backend="test", operation="setup")

    backend.prepare = lambda store: store.before.update(setup=refuse)
    with pytest.raises(UnavailableError), variant.open("test://", registry=registered(backend)):
        pytest.fail("entered")
    assert backend.made[0].calls == ["setup", "close"]


def test_a_manager_that_cannot_be_made_closes_what_it_opened() -> None:
    for native in MODES:
        backend = Backend(native)
        threads = threading.active_count()
        with pytest.raises(ConfigError):
            SessionManager.open("test://", registry=registered(backend), expiry="bogus")  # type: ignore[arg-type]
        assert backend.made[0].calls == ["close"]
        assert threading.active_count() == threads


def test_an_error_while_closing_the_cleanup_still_closes_the_store(variant: Variant, backend: Backend) -> None:
    manager = variant.open("test://", registry=registered(backend), cleanup_interval=3600)
    with manager:
        pass
    assert backend.made[0].calls[-1] == "close"


def test_the_url_may_come_from_the_environment(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_CONTINUITY_URL", "memory://")
    kind = AsyncSessionManager if variant.is_async else SessionManager
    assert kind.open() is not None
    monkeypatch.delenv("SESSION_CONTINUITY_URL")
    with pytest.raises(ConfigError):
        kind.open()


def test_two_managers_on_one_url_share_their_sessions(variant: Variant) -> None:
    with variant.open("memory://shared") as first, variant.open("memory://shared") as second:
        session = first.create_session()
        first.close()
        assert second.get_session(session.id) == session


# Modes


def test_a_store_of_the_wrong_mode_is_refused_at_construction() -> None:
    blocking, awaiting = MemoryStorage(mode="blocking"), MemoryStorage(mode="async")
    for wrong in (
        lambda: AsyncSessionManager(blocking),
        lambda: AsyncSessionManager(Storage(blocking)),  # type: ignore[arg-type]
        lambda: SessionManager(awaiting),
        lambda: Storage(awaiting),
        lambda: Storage.through_portal(blocking),
        lambda: ThreadedAdapter(awaiting),
    ):
        with pytest.raises(ConfigError, match="SessionManager"):
            wrong()


@pytest.mark.parametrize("native", MODES)
def test_a_backend_of_one_mode_serves_both_faces(variant: Variant, native: Mode) -> None:
    backend = Backend(native)
    with variant.open("test://", registry=registered(backend)) as manager:
        session = manager.create_session()
        added = manager.add_message(session.id, role="user", content="x")
        assert list(manager.iter_messages(session.id)) == [added]
    assert backend.made[0].mode == native
    assert backend.made[0].calls[-1] == "close"


@pytest.mark.parametrize("native", MODES)
def test_the_bare_store_serves_blocking_code(native: Mode) -> None:
    backend = Backend(native)
    storage = open_storage("test://", registry=registered(backend))
    with storage:
        assert storage.health().status == "healthy"
        assert storage.get_session("s") is None
    assert backend.made[0].calls == ["setup", "setup", "health", "get_session", "close"]
    storage.close()
    with pytest.raises(StorageClosedError) as caught:
        storage.get_session("s")
    assert caught.value.operation == "get_session"
    with pytest.raises(StorageClosedError):
        SessionManager(storage).get_session("s")


@pytest.mark.parametrize("native", MODES)
def test_a_bare_store_that_cannot_be_set_up_is_closed_again(native: Mode) -> None:
    backend = Backend(native)

    async def refuse() -> None:
        raise UnavailableError("down", backend="test", operation="setup")

    backend.prepare = lambda store: store.before.update(setup=refuse)
    threads = threading.active_count()
    with pytest.raises(UnavailableError):
        open_storage("test://", registry=registered(backend))
    assert (backend.made[0].calls, threading.active_count()) == (["setup", "close"], threads)


@pytest.mark.parametrize("native", MODES)
def test_the_bare_store_serves_async_code_and_is_closed_whatever_happens(native: Mode) -> None:
    backend = Backend(native)

    async def use() -> None:
        async with open_async_storage("test://", registry=registered(backend)) as storage:
            assert await storage.get_session("s") is None
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(use())
    assert backend.made[0].calls == ["setup", "get_session", "close"]


def test_a_forgotten_portal_store_leaves_no_thread(clock: Clock) -> None:
    del clock
    storage = Storage.through_portal(MemoryStorage(mode="async"))
    storage.setup()
    assert any("portal" in thread.name for thread in threading.enumerate())
    del storage
    gc.collect()
    assert not any("portal" in thread.name for thread in threading.enumerate())


def test_blocking_calls_work_inside_a_running_loop() -> None:
    async def main() -> int:
        manager = SessionManager.open("memory://")
        session = manager.create_session()
        manager.add_message(session.id, role="user", content="x")
        return manager.get_session(session.id).message_count

    assert asyncio.run(main()) == 1


def test_a_blocking_manager_serves_a_file_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    with SessionManager.open(url) as manager:
        session = manager.create_session()
        manager.add_message(session.id, role="user", content="x")
    with SessionManager.open(url) as manager:
        assert manager.get_session(session.id).message_count == 1


def test_health_does_not_set_up_and_does_not_raise(manager: SessionManager, store: RecordingAdapter) -> None:
    assert store.calls_during(lambda: manager.health()) == ["health"]
    assert manager.health().status == "healthy"
