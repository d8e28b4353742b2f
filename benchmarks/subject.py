"""What is measured: one store seen through one interface, with the operations that every subject knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any

from benchmarks.conversation import texts
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
    open_async_storage,
    open_storage,
)
from session_continuity.ids import MessageIds

USER = "u1"
TURN = 50
TOKENS_OF_20 = 5_100


class Subject(ABC):
    """A store with conversations in it. Every method is one operation as an application would ask for it, from plain
    values to plain values or models; where the subject is `awaited`, what a method returns is still to be awaited."""

    name: str
    awaited = False

    @abstractmethod
    def fill(self, session: str, messages: int) -> Any:
        """Create a session of the benchmark's user with so many messages; not timed."""

    @abstractmethod
    def append(self, session: str, role: str, text: str) -> Any: ...

    @abstractmethod
    def last_20(self, session: str) -> Any: ...

    @abstractmethod
    def context(self, session: str) -> Any:
        """The session and its last 20 messages."""

    @abstractmethod
    def all(self, session: str) -> Any: ...

    @abstractmethod
    def update(self, session: str, text: str) -> Any:
        """Replace the text of the message in the middle, by its id."""

    @abstractmethod
    def delete(self, session: str) -> Any: ...

    @abstractmethod
    def list_100(self) -> Any: ...


class StoreSubject(Subject):
    """A store through the contract, as `open_storage` or `open_async_storage` gives it. `write` puts messages into it
    and returns them as they are stored."""

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
        """The client, for those who count what it sends."""
        return self.adapter.native

    def fill(self, session: str, messages: int) -> Any:
        return self._run(self._fill(session, messages))

    def append(self, session: str, role: str, text: str) -> Any:
        return self._run(self.adapter.append_messages(session, [self._message(session, role, text)]))

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

    async def _fill(self, session: str, messages: int) -> None:
        now = self.adapter.clock()
        described = SessionMetadata(title="Benchmark")
        await self.adapter.create_session(
            Session(id=session, user_id=USER, created_at=now, last_activity_at=now, metadata=described)
        )
        if talk := [self._message(session, role, text) for role, text in islice(texts(), messages)]:
            self._middle[session] = (await self._write(self, talk))[messages // 2].id

    async def _all(self, session: str) -> list[Message]:
        page = await self.adapter.get_messages(session, query := MessageQuery(limit=1000))
        messages = list(page)
        while page.next_cursor is not None:
            page = await self.adapter.get_messages(session, query, cursor=page.next_cursor)
            messages.extend(page)
        return messages

    def _message(self, session: str, role: str, text: str) -> Message:
        message_id, created_at = self._ids.mint()
        return Message.model_validate(
            {
                "id": message_id,
                "session_id": session,
                "role": role,
                "content": text,
                "token_count": len(text) // 4,
                "created_at": created_at,
            }
        )


class ManagerSubject(StoreSubject):
    """A store through `SessionManager` or `AsyncSessionManager`, as applications use it."""

    kind = "manager"

    def __init__(self, name: str, store: Storage | StorageAdapter, write: Write) -> None:
        super().__init__(name, store, write)
        manager: Any = SessionManager if isinstance(store, Storage) else AsyncSessionManager
        self._manager = manager(store, token_budget=TokenBudget(max_tokens=TOKENS_OF_20))

    def append(self, session: str, role: str, text: str) -> Any:
        return self._manager.add_message(session, role=role, content=text)

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


async def appended(subject: StoreSubject, messages: list[Message]) -> list[Message]:
    """Write by the contract, turn by turn."""
    stored: list[Message] = []
    for start in range(0, len(messages), TURN):
        turn = messages[start : start + TURN]
        stored += (await subject.adapter.append_messages(turn[0].session_id, turn)).messages
    return stored


async def subjects(
    opened: AsyncExitStack, url: Callable[[str], str], mode: Mode = "blocking", write: Write = appended
) -> list[Subject]:
    """The store and the manager in this mode, each on data of its own, at the `url` of its name."""
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
