"""CFG: a manager refuses what a store does not declare, before the store is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from session_continuity import (
    AsyncSessionManager,
    ForwardingAdapter,
    NotSupportedError,
    SessionManager,
    StorageAdapter,
    innermost,
)
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, same
from session_continuity_conformance.recording import Recorder
from session_continuity_conformance.store_fixture import StoreFixture

P = ParamSpec("P")
R = TypeVar("R")


class Watched(ForwardingAdapter):
    """The backend's own adapter with these capabilities. `asked` has the operations that reached it, except `setup`."""

    def __init__(self, store: StoreFixture, **declared: Any) -> None:
        backend = store.driver.bridge(innermost(store.raw))
        super().__init__(Recorder(backend, store.log, store.driver.yield_control))
        self.capabilities = replace(store.raw.capabilities, **declared)
        self.calls: list[str] = []

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if method.__name__ != "setup":
            self.calls.append(method.__name__)
        return await super().forward(method, *args, **kwargs)


async def refuses(store: StoreFixture, feature: str, adapter: Watched, call: Callable[[Any], Any]) -> None:
    """Check that a manager on this adapter refuses the call, that no operation reaches the adapter, and that nothing
    changes."""
    sessions = [call.args[0].id for call in store.log.calls if call.method == "create_session"]
    before = [(await store.current(name), await store.texts(name)) for name in sessions]
    await refused(f"{feature} through a manager", managed(adapter, call), NotSupportedError)
    same("methods of the store that were called", adapter.calls, [])
    after = [(await store.current(name), await store.texts(name)) for name in sessions]
    same("the sessions and their messages afterwards", after, before)


async def managed(adapter: StorageAdapter, call: Callable[[Any], Any]) -> object:
    """The result of a call of the manager for the adapter's mode."""
    if adapter.mode == "blocking":
        return call(SessionManager(adapter))
    answer: Awaitable[object] = call(AsyncSessionManager(adapter))
    return await answer


@clause("SC-CFG-005")
async def test_listing_all_is_refused_where_it_is_not_declared(store: StoreFixture) -> None:
    declares = store.raw.capabilities.unscoped_listing
    session = await store.create_session(user_id="u")
    await store.append(session.id, "x")
    adapter = Watched(store, unscoped_listing=False) if declares else Watched(store)
    await refuses(store, "a listing without a user and an agent", adapter, lambda manager: manager.list_sessions())


@clause("SC-CFG-006")
async def test_longer_batch_is_refused_where_it_is_not_declared(store: StoreFixture) -> None:
    most = store.raw.capabilities.max_batch
    session = await store.create_session()
    await store.append(session.id, "x")
    adapter = Watched(store, max_batch=2) if most is None else Watched(store)
    batch = [{"role": "user", "content": f"m{number}"} for number in range((most or 2) + 1)]
    await refuses(store, "too long a batch", adapter, lambda manager: manager.add_messages(session.id, batch))
