"""`MemoryStorage`: the contract kept by dictionaries under one lock.

Nothing read or written shares state with the store: what goes in is kept as JSON text, what comes out is parsed anew.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from weakref import WeakValueDictionary

from session_continuity import (
    Appended,
    ConcurrencyError,
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


@dataclass
class _Store:
    """What adapters of one name share: sessions by namespace and id, and the lock over all of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    conversations: dict[tuple[str, str], Conversation] = field(default_factory=dict)


_named: WeakValueDictionary[str, _Store] = WeakValueDictionary()
_naming = threading.Lock()


def _store(name: str | None) -> _Store:
    if name is None:
        return _Store()
    with _naming:
        return _named.setdefault(name, _Store())


class MemoryStorage(StorageAdapter):
    """A store in this process. `name` shares it with every other open adapter of that name."""

    backend: ClassVar[str] = "memory"

    def __init__(self, *, name: str | None = None, namespace: str = "", mode: Mode = "blocking") -> None:
        self.mode = mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._namespace = namespace
        self._store = _store(name)
        self._closed = False

    async def setup(self) -> None:
        self._check_open("setup")

    async def close(self) -> None:
        self._closed = True

    async def health(self) -> HealthStatus:
        self._check_open("health")
        return HealthStatus(status="healthy", details={"durable": False}, latency_ms=0.0)

    async def create_session(self, session: Session) -> Session:
        self._check_open("create_session")
        with self._store.lock:
            existing = self._live(session.id)
            if existing is None:
                created = Conversation(session)
                self._store.conversations[self._namespace, session.id] = created
                return created.session()
            if not is_repeated_create(existing.session(), session):
                raise SessionExistsError(session.id)
            return existing.session()

    async def get_session(self, session_id: str) -> Session | None:
        self._check_open("get_session")
        with self._store.lock:
            conversation = self._live(session_id)
            return None if conversation is None else conversation.session()

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        self._check_open("update_session")
        with self._store.lock:
            conversation = self._existing(session_id)
            current = conversation.session()
            if expected_version is not None and current.version != expected_version:
                raise ConcurrencyError(session_id, expected=expected_version, actual=current.version, current=current)
            conversation.update(patch)
            return conversation.session()

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        self._check_open("delete_session")
        with self._store.lock:
            conversation = self._store.conversations.get((self._namespace, session_id))
            if conversation is None or not (expired_before is None or conversation.is_expired(expired_before)):
                return False
            del self._store.conversations[self._namespace, session_id]
            return True

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        self._check_open("list_sessions")
        check_limit(limit)
        start = None if cursor is None else tuple(decode_cursor(cursor, bound_to=filter.key()))
        now = self.clock()
        with self._store.lock:
            found = [
                conversation
                for conversation in self._mine()
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
        self._check_open("append_messages")
        with self._store.lock:
            return self._existing(session_id).append(messages, chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        self._check_open("get_message")
        with self._store.lock:
            return self._existing(session_id).get(message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        self._check_open("get_messages")
        start = None if cursor is None else int(decode_cursor(cursor, bound_to=query.key(session_id)))
        with self._store.lock:
            found, more = self._existing(session_id).find(query, start)
        return Page(found, None if more is None else encode_cursor(more, bound_to=query.key(session_id)))

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        self._check_open("update_message")
        with self._store.lock:
            conversation = self._existing(session_id)
            current = conversation.get(message_id)
            if current is None:
                raise MessageNotFoundError(session_id, message_id)
            return conversation.replace(current, patch.apply(current))

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        self._check_open("delete_message")
        with self._store.lock:
            return self._existing(session_id).remove(message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        self._check_open("delete_all_messages")
        with self._store.lock:
            return self._existing(session_id).clear()

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        self._check_open("get_expired_sessions")
        check_limit(limit)
        start = ("", "") if cursor is None else tuple(decode_cursor(cursor, bound_to="expired"))
        with self._store.lock:
            found = sorted(
                (str(conversation.head.expires_at), conversation.head.id)
                for conversation in self._mine()
                if conversation.is_expired(before)
            )
        following = [entry for entry in found if entry > start]
        more = encode_cursor(following[limit - 1], bound_to="expired") if len(following) > limit else None
        return Page(tuple(session_id for _, session_id in following[:limit]), more)

    def _mine(self) -> list[Conversation]:
        return [held for (namespace, _), held in self._store.conversations.items() if namespace == self._namespace]

    def _live(self, session_id: str) -> Conversation | None:
        conversation = self._store.conversations.get((self._namespace, session_id))
        return None if conversation is None or conversation.is_expired(self.clock()) else conversation

    def _existing(self, session_id: str) -> Conversation:
        conversation = self._live(session_id)
        if conversation is None:
            raise SessionNotFoundError(session_id)
        return conversation

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise StorageClosedError(backend=self.backend, operation=operation)
