"""Mistakes that both type checkers must find: each line marked as wrong, by the rules it names, and no other line.

This file never runs.
"""

from session_continuity import (
    CONTRACT,
    AsyncSessionManager,
    BackendPlugin,
    Mode,
    SessionManager,
    StorageAdapter,
    TokenBudget,
    run_now,
)


async def forgets_to_await(manager: AsyncSessionManager, storage: StorageAdapter) -> str:
    manager.add_message("s", role="user", content="lost")  # wrong: unused-coroutine reportUnusedCoroutine
    storage.delete_session("s")  # wrong: unused-coroutine reportUnusedCoroutine
    return manager.create_session().id  # wrong


async def mixes_the_modes(manager: AsyncSessionManager, blocking: SessionManager) -> None:
    await blocking.health()  # wrong
    with manager:  # wrong
        pass
    async with blocking:  # wrong
        pass
    AsyncSessionManager(blocking)  # wrong
    run_now(blocking.health())  # wrong


def misspells(manager: SessionManager) -> None:
    manager.add_mesage("s")  # wrong
    manager.add_message("s", role="narrator", content="x")  # wrong
    manager.add_message("s", "user", "x", {})  # wrong
    manager.get_messages("s", order="newest")  # wrong
    manager.list_sessions(status="open")  # wrong
    TokenBudget(max_tokens=1, reserve=1)  # wrong


class HalfAPlugin:
    scheme = "half"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"async"})


plugin: BackendPlugin = HalfAPlugin()  # wrong


class HalfAStore(StorageAdapter):
    async def setup(self) -> None: ...


HalfAStore()  # wrong
