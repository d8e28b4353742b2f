"""What is measured: one store seen through one interface, with the six operations that every subject knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice

from benchmarks.conversation import texts
from session_continuity import (
    Message,
    MessageQuery,
    NewMessage,
    Patch,
    Session,
    SessionFilter,
    SessionManager,
    SessionMetadata,
    Storage,
)
from session_continuity.ids import MessageIds

USER = "u1"
TURN = 50


class Subject(ABC):
    """A store with conversations in it. Every method is one operation as an application would ask for it, from plain
    values to plain values or models."""

    name: str

    @abstractmethod
    def fill(self, session: str, messages: int) -> None:
        """Create a session of the benchmark's user with so many messages; not timed."""

    @abstractmethod
    def append(self, session: str, role: str, text: str) -> object: ...

    @abstractmethod
    def last_20(self, session: str) -> object: ...

    @abstractmethod
    def all(self, session: str) -> object: ...

    @abstractmethod
    def update(self, session: str, text: str) -> object:
        """Replace the text of the message in the middle, by its id."""

    @abstractmethod
    def delete(self, session: str) -> object: ...

    @abstractmethod
    def list_100(self) -> object: ...

    @abstractmethod
    def close(self) -> None: ...


class StoreSubject(Subject):
    """A store through the contract, as `open_storage` gives it."""

    name = "store"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ids = MessageIds(storage.adapter.clock)
        self._middle: dict[str, str] = {}

    def fill(self, session: str, messages: int) -> None:
        now = self._storage.adapter.clock()
        self._storage.create_session(
            Session(
                id=session,
                user_id=USER,
                created_at=now,
                last_activity_at=now,
                metadata=SessionMetadata(title="Benchmark"),
            )
        )
        rest = list(islice(texts(), messages))
        for start in range(0, messages, TURN):
            turn = [self._message(session, role, text) for role, text in rest[start : start + TURN]]
            stored = self._storage.append_messages(session, turn).messages
            if start <= messages // 2 < start + TURN:
                self._middle[session] = stored[messages // 2 - start].id

    def append(self, session: str, role: str, text: str) -> object:
        return self._storage.append_messages(session, [self._message(session, role, text)])

    def last_20(self, session: str) -> object:
        return self._storage.get_messages(session, MessageQuery(order="desc", limit=20))

    def all(self, session: str) -> object:
        page = self._storage.get_messages(session, query := MessageQuery(limit=1000))
        messages = list(page)
        while page.next_cursor is not None:
            page = self._storage.get_messages(session, query, cursor=page.next_cursor)
            messages.extend(page)
        return messages

    def update(self, session: str, text: str) -> object:
        patch = Patch(set={"content": text, "token_count": 7, "updated_at": self._storage.adapter.clock()})
        return self._storage.update_message(session, self._middle[session], patch)

    def delete(self, session: str) -> object:
        return self._storage.delete_session(session)

    def list_100(self) -> object:
        return self._storage.list_sessions(SessionFilter(user_id=USER), limit=100)

    def close(self) -> None:
        self._storage.close()

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


class ManagerSubject(Subject):
    """A store through `SessionManager`, as applications use it."""

    name = "manager"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._manager = SessionManager(storage)
        self._middle: dict[str, str] = {}

    def fill(self, session: str, messages: int) -> None:
        self._manager.create_session(id=session, user_id=USER, metadata={"title": "Benchmark"})
        rest = list(islice(texts(), messages))
        for start in range(0, messages, TURN):
            turn = [NewMessage(role=role, content=text) for role, text in rest[start : start + TURN]]  # type: ignore[arg-type]  # plain texts
            stored = self._manager.add_messages(session, turn)
            if start <= messages // 2 < start + TURN:
                self._middle[session] = stored[messages // 2 - start].id

    def append(self, session: str, role: str, text: str) -> object:
        return self._manager.add_message(session, role=role, content=text)  # type: ignore[arg-type]  # plain texts

    def last_20(self, session: str) -> object:
        return self._manager.get_messages(session, order="desc", limit=20)

    def all(self, session: str) -> object:
        return self._manager.get_messages(session)

    def update(self, session: str, text: str) -> object:
        return self._manager.update_message(session, self._middle[session], content=text, token_count=7)

    def delete(self, session: str) -> object:
        self._manager.delete_session(session)
        return None

    def list_100(self) -> object:
        return self._manager.list_sessions(user_id=USER, limit=100)

    def close(self) -> None:
        self._manager.close()
        self._storage.close()
