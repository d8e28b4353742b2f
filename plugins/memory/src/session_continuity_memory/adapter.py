"""`MemoryStorage`: the contract kept by dictionaries under one lock.

Nothing read or written shares state with the store: what goes in is kept as JSON text, what comes out is parsed anew.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakValueDictionary

from session_continuity import (
    Appended,
    ConcurrencyError,
    ConversationPage,
    HealthStatus,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    StorageClosedError,
    check_limit,
    decode_cursor,
    encode_cursor,
    is_repeated_create,
    utc_now,
)
from session_continuity_memory.config import CAPABILITIES
from session_continuity_memory.conversation import Conversation

_Sessions = dict[tuple[str, str], Conversation]


@dataclass
class _Store:
    """What adapters of one name share: sessions by namespace and id, and the lock over all of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sessions: _Sessions = field(default_factory=dict[tuple[str, str], Conversation])


_named: WeakValueDictionary[str, _Store] = WeakValueDictionary()
_naming = threading.Lock()


def _store(name: str | None) -> _Store:
    if name is None:
        return _Store()
    with _naming:
        return _named.setdefault(name, _Store())


def _page(found: tuple[Message, ...], more: int | None, bound_to: str) -> Page[Message]:
    return Page(found, None if more is None else encode_cursor(more, bound_to=bound_to))


class MemoryStorage(StorageAdapter):
    """A store in this process. `name` shares it with every other open adapter of that name; it ends with the last of
    them, and a store without a name with its only one."""

    backend = "memory"

    def __init__(self, *, name: str | None = None, namespace: str = "", mode: Mode = "blocking") -> None:
        self.mode = mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._namespace = namespace
        self._store: _Store | None = _store(name)

    async def setup(self) -> None:
        self._opened("setup")

    async def close(self) -> None:
        self._store = None

    async def health(self) -> HealthStatus:
        self._opened("health")
        return HealthStatus(status="healthy", details={"durable": False}, latency_ms=0.0)

    async def create_session(self, session: Session) -> Session:
        with self._sessions("create_session") as sessions:
            existing = self._live(sessions, session.id)
            if existing is None:
                created = sessions[self._namespace, session.id] = Conversation(session)
                return created.session()
            if not is_repeated_create(existing.session(), session):
                raise SessionExistsError(session.id)
            return existing.session()

    async def get_session(self, session_id: str) -> Session | None:
        with self._sessions("get_session") as sessions:
            conversation = self._live(sessions, session_id)
            return None if conversation is None else conversation.session()

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        with self._sessions("update_session") as sessions:
            conversation = self._existing(sessions, session_id)
            current = conversation.session()
            if expected_version is not None and current.version != expected_version:
                raise ConcurrencyError(session_id, expected=expected_version, actual=current.version, current=current)
            conversation.update(patch)
            return conversation.session()

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        with self._sessions("delete_session") as sessions:
            conversation = sessions.get((self._namespace, session_id))
            if conversation is None or not (expired_before is None or conversation.is_expired(expired_before)):
                return False
            del sessions[self._namespace, session_id]
            return True

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        check_limit(limit)
        start = None if cursor is None else decode_cursor(cursor, bound_to=filter.key(), form=tuple[str, str])
        with self._sessions("list_sessions") as sessions:
            now = self.clock()
            found = [
                conversation
                for conversation in self._mine(sessions)
                if not conversation.is_expired(now)
                and filter.matches(conversation.head)
                and (start is None or conversation.listing_key < start)
            ]
            found.sort(key=lambda conversation: conversation.listing_key, reverse=True)
            page = tuple(conversation.session() for conversation in found[:limit])
        more = encode_cursor(found[limit - 1].listing_key, bound_to=filter.key()) if len(found) > limit else None
        return Page(page, more)

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        with self._sessions("append_messages") as sessions:
            return self._existing(sessions, session_id).append(messages, chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        with self._sessions("get_message") as sessions:
            return self._existing(sessions, session_id).get(message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        start = None if cursor is None else decode_cursor(cursor, bound_to=query.key(session_id), form=int)
        with self._sessions("get_messages") as sessions:
            found, more = self._existing(sessions, session_id).find(query, start)
        return _page(found, more, query.key(session_id))

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        with self._sessions("get_conversation") as sessions:
            conversation = self._existing(sessions, session_id)
            found, more = conversation.find(query, None)
            shown = {message.id for message in found}
            return ConversationPage(
                session=conversation.session(),
                messages=_page(found, more, query.key(session_id)),
                system_messages=tuple(message for message in conversation.system() if message.id not in shown),
            )

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        with self._sessions("update_message") as sessions:
            conversation = self._existing(sessions, session_id)
            current = conversation.get(message_id)
            if current is None:
                raise MessageNotFoundError(session_id, message_id)
            return conversation.replace(current, patch.apply(current))

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        with self._sessions("delete_message") as sessions:
            return self._existing(sessions, session_id).remove(message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        with self._sessions("delete_all_messages") as sessions:
            return self._existing(sessions, session_id).clear()

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        check_limit(limit)
        start = ("", "") if cursor is None else decode_cursor(cursor, bound_to="expired", form=tuple[str, str])
        with self._sessions("get_expired_sessions") as sessions:
            expired = (conversation for conversation in self._mine(sessions) if conversation.is_expired(before))
            found = sorted(key for conversation in expired if (key := conversation.expiry_key) > start)
        more = encode_cursor(found[limit - 1], bound_to="expired") if len(found) > limit else None
        return Page(tuple(session_id for _, session_id in found[:limit]), more)

    def _opened(self, operation: str) -> _Store:
        store = self._store
        if store is None:
            raise StorageClosedError(backend=self.backend, operation=operation)
        return store

    @contextmanager
    def _sessions(self, operation: str) -> Generator[_Sessions]:
        """Every session of the store, with the lock held."""
        store = self._opened(operation)
        with store.lock:
            yield store.sessions

    def _mine(self, sessions: _Sessions) -> list[Conversation]:
        return [conversation for (namespace, _), conversation in sessions.items() if namespace == self._namespace]

    def _live(self, sessions: _Sessions, session_id: str) -> Conversation | None:
        conversation = sessions.get((self._namespace, session_id))
        return None if conversation is None or conversation.is_expired(self.clock()) else conversation

    def _existing(self, sessions: _Sessions, session_id: str) -> Conversation:
        conversation = self._live(sessions, session_id)
        if conversation is None:
            raise SessionNotFoundError(session_id)
        return conversation
