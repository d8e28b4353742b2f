"""The stores of this project, by their contract and by the manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages, token_count
from benchmarks.subjects.subject import USER, Subject
from session_continuity import (
    AsyncSessionManager,
    Message,
    MessageQuery,
    Mode,
    Patch,
    Session,
    SessionFilter,
    SessionManager,
    SessionMetadata,
    Storage,
    StorageAdapter,
    TokenBudget,
    innermost,
    open_async_storage,
    open_storage,
)
from session_continuity.ids import MessageIds

BATCH = 50
TOKENS_OF_20 = 9_600
"""A budget that the last 20 messages of the conversation fit, for the context of the manager."""


class StoreSubject(Subject):
    """A store by its contract, as `open_storage` or `open_async_storage` opens it.

    `write` fills the store with messages, and returns them as stored.
    """

    kind = "store"

    def __init__(self, name: str, store: Storage | StorageAdapter, write: Write) -> None:
        self.name = name
        self.awaited = isinstance(store, StorageAdapter)
        self.adapter: Any = store.adapter if isinstance(store, Storage) else store
        self._run: Callable[[Coroutine[Any, Any, Any]], Any] = store.run if isinstance(store, Storage) else _unawaited
        self._write = write
        self._ids = MessageIds(self.adapter.clock)
        self._middle: dict[str, str] = {}

    @property
    def native(self) -> Any:
        """The backend's client, whose requests a meter counts."""
        backend: Any = innermost(self.adapter)
        return backend.native

    def fill(self, session: str, count: int) -> Any:
        return self._run(self._fill(session, count))

    def append(self, session: str, item: Item) -> Any:
        return self._run(self.adapter.append_messages(session, [self._message(session, item)]))

    def last_20(self, session: str) -> Any:
        return self._run(self.adapter.get_messages(session, MessageQuery(order="desc", limit=20)))

    def context(self, session: str) -> Any:
        return self._run(self.adapter.get_conversation(session, MessageQuery(order="desc", limit=20)))

    def all(self, session: str) -> Any:
        return self._run(self._all(session))

    def update(self, session: str, text: str) -> Any:
        patch = Patch(set={"content": text, "token_count": 7, "updated_at": self.adapter.clock()})
        return self._run(self.adapter.update_message(session, self._middle[session], patch))

    def delete(self, session: str) -> Any:
        return self._run(self.adapter.delete_session(session))

    def list_100(self) -> Any:
        return self._run(self.adapter.list_sessions(SessionFilter(user_id=USER), limit=100))

    async def _fill(self, session: str, count: int) -> None:
        now = self.adapter.clock()
        metadata = SessionMetadata(title="Benchmark")
        await self.adapter.create_session(
            Session(id=session, user_id=USER, created_at=now, last_activity_at=now, metadata=metadata)
        )
        if talk := [self._message(session, item) for item in islice(messages(), count)]:
            self._middle[session] = (await self._write(self, talk))[count // 2].id

    async def _all(self, session: str) -> list[Message]:
        page = await self.adapter.get_messages(session, query := MessageQuery(limit=1000))
        found = list(page)
        while page.next_cursor is not None:
            page = await self.adapter.get_messages(session, query, cursor=page.next_cursor)
            found.extend(page)
        return found

    def _message(self, session: str, item: Item) -> Message:
        message_id, created_at = self._ids.mint()
        return Message.model_validate(
            {
                **item,
                "id": message_id,
                "session_id": session,
                "token_count": token_count(item),
                "created_at": created_at,
            }
        )


class ManagerSubject(StoreSubject):
    """A store by `SessionManager` or `AsyncSessionManager`, as applications use it."""

    kind = "manager"

    def __init__(self, name: str, store: Storage | StorageAdapter, write: Write) -> None:
        super().__init__(name, store, write)
        manager: Any = SessionManager if isinstance(store, Storage) else AsyncSessionManager
        self._manager = manager(store, token_budget=TokenBudget(max_tokens=TOKENS_OF_20))

    def append(self, session: str, item: Item) -> Any:
        return self._manager.add_message(session, **item, token_count=token_count(item))

    def last_20(self, session: str) -> Any:
        return self._manager.get_messages(session, order="desc", limit=20)

    def context(self, session: str) -> Any:
        return self._manager.get_conversation_context(session)

    def all(self, session: str) -> Any:
        return self._manager.get_messages(session)

    def update(self, session: str, text: str) -> Any:
        return self._manager.update_message(session, self._middle[session], content=text, token_count=7)

    def delete(self, session: str) -> Any:
        return self._manager.delete_session(session)

    def list_100(self) -> Any:
        return self._manager.list_sessions(user_id=USER, limit=100)


Write = Callable[[StoreSubject, list[Message]], Awaitable[list[Message]]]


async def append_all(subject: StoreSubject, batch: list[Message]) -> list[Message]:
    """Write messages by the contract, some at once."""
    stored: list[Message] = []
    for start in range(0, len(batch), BATCH):
        part = batch[start : start + BATCH]
        stored += (await subject.adapter.append_messages(part[0].session_id, part)).messages
    return stored


async def open_subjects(
    opened: AsyncExitStack, url: Callable[[str], str], mode: Mode = "blocking", write: Write = append_all
) -> list[Subject]:
    """The store and the manager in this mode, each with data of its own, at the `url` of its name."""
    found: list[Subject] = []
    for subject in (StoreSubject, ManagerSubject):
        if mode == "async":
            name = f"async-{subject.kind}"
            found.append(subject(name, await opened.enter_async_context(open_async_storage(url(name))), write))
        else:
            found.append(subject(subject.kind, opened.enter_context(open_storage(url(subject.kind))), write))
    return found


def _unawaited(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    return coroutine
