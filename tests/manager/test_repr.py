"""The repr of managers, storages and adapters: it names the store, and hides what must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_continuity import (
    AsyncSessionManager,
    ForwardingAdapter,
    Registry,
    SessionManager,
    Storage,
    StorageAdapter,
    default_registry,
    hookimpl,
    open_storage,
)
from session_continuity_memory import MemoryStorage


def test_a_manager_names_its_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    with SessionManager.open(url) as manager:
        assert repr(manager) == f"<SessionManager on {url}>"
    with open_storage(url) as storage:
        assert repr(storage) == f"<Storage on {url}>"
        assert repr(SessionManager(storage)) == f"<SessionManager on {url}>"
    assert repr(AsyncSessionManager.open("memory://")) == "<AsyncSessionManager on memory://>"


def test_a_secret_in_the_url_is_hidden() -> None:
    manager = AsyncSessionManager.open("redis://user:c4n4ry@localhost:1/0?namespace=n")
    assert repr(manager) == "<AsyncSessionManager on redis://***:***@localhost:1/0?namespace=n>"
    adapter = default_registry().create("redis://:c4n4ry@localhost:1", "blocking")
    assert repr(adapter).endswith(" on redis://***:***@localhost:1>")


@pytest.mark.parametrize("kind", [SessionManager, Storage])
def test_a_store_that_was_not_opened_by_url_is_named_by_its_scheme(kind: type[SessionManager | Storage]) -> None:
    assert repr(kind(MemoryStorage(mode="blocking"))) == f"<{kind.__name__} on memory>"


def test_the_name_shows_through_wrappers() -> None:
    class Tracing(ForwardingAdapter):
        """A wrapper that changes nothing."""

    class Extension:
        @hookimpl
        def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter:
            return Tracing(adapter)

    registry = Registry()
    registry.register_extension(Extension())
    assert repr(registry.create("memory://name", "async")) == "<Tracing on memory://name>"
    with SessionManager.open("memory://name", registry=registry) as manager:
        assert repr(manager) == "<SessionManager on memory://name>"
