"""CFG, what is not declared: a manager refuses it before the store is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from session_continuity import AsyncSessionManager, NotSupportedError, SessionManager, StorageAdapter
from session_continuity_conformance.cases import clause
from session_continuity_conformance.checks import refused, same
from session_continuity_conformance.store import Store
from session_continuity_conformance.wrapping import Forwarding, Method, P, R


class Watched(Forwarding):
    """The store with these capabilities, and which of its methods a manager called beside `setup`."""

    def __init__(self, inner: StorageAdapter, **declared: Any) -> None:
        super().__init__(inner)
        self.capabilities = replace(inner.capabilities, **declared)
        self.asked: list[str] = []

    async def forward(self, method: Method[P, R], /, *args: P.args, **options: P.kwargs) -> R:
        if method.__name__ != "setup":
            self.asked.append(method.__name__)
        return await super().forward(method, *args, **options)


async def refuses(store: Store, feature: str, adapter: Watched, call: Callable[[Any], Any]) -> None:
    """A manager on this adapter refuses the call, the store is not asked, and nothing changes."""
    sessions = [call.args[0].id for call in store.log.calls if call.method == "create_session"]
    before = [(await store.current(name), await store.texts(name)) for name in sessions]
    await refused(f"{feature} through a manager", managed(adapter, call), NotSupportedError)
    same("methods of the store that were called", adapter.asked, [])
    after = [(await store.current(name), await store.texts(name)) for name in sessions]
    same("the sessions and their messages afterwards", after, before)


async def managed(adapter: StorageAdapter, call: Callable[[Any], Any]) -> object:
    """What a call of the manager for the adapter's mode returns."""
    if adapter.mode == "blocking":
        return call(SessionManager(adapter))
    answer: Awaitable[object] = call(AsyncSessionManager(adapter))
    return await answer


def as_it_is(store: Store) -> Watched:
    """The store with what it declares now."""
    adapter = Watched(store.adapter)
    adapter.capabilities = store.raw.capabilities
    return adapter


@clause("SC-CFG-005")
async def test_listing_all_is_refused_where_it_is_not_declared(store: Store) -> None:
    declares = store.raw.capabilities.unscoped_listing
    session = await store.session(user_id="u")
    await store.append(session.id, "x")
    adapter = Watched(store.adapter, unscoped_listing=False) if declares else as_it_is(store)
    await refuses(store, "a listing without a user and an agent", adapter, lambda manager: manager.list_sessions())


@clause("SC-CFG-006")
async def test_longer_turn_is_refused_where_it_is_not_declared(store: Store) -> None:
    most = store.raw.capabilities.max_turn
    session = await store.session()
    await store.append(session.id, "x")
    adapter = Watched(store.adapter, max_turn=2) if most is None else as_it_is(store)
    turn = [{"role": "user", "content": f"m{number}"} for number in range((most or 2) + 1)]
    await refuses(store, "too long a turn", adapter, lambda manager: manager.add_messages(session.id, turn))
