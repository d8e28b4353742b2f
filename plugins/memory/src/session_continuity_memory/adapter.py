"""`MemoryStorage`: the contract on dictionaries, under one lock.

The store keeps JSON text and parses it for every read, so no caller shares state with it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Unpack
from weakref import WeakValueDictionary

from session_continuity import (
    Appended,
    AppendTerms,
    ConversationPage,
    Fork,
    HealthStatus,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Replaced,
    SearchTerms,
    Session,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    decode_cursor,
    encode_cursor,
    is_repeated_create,
    listing_start,
    searched_words,
    utc_now,
)
from session_continuity_memory.config import CAPABILITIES
from session_continuity_memory.conversation import Conversation
from session_continuity_memory.journal import Journal

_Sessions = dict[tuple[str, str], Conversation]


@dataclass
class _Store:
    """What adapters of one name share: the sessions by namespace and id, and the lock for all of them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sessions: _Sessions = field(default_factory=dict[tuple[str, str], Conversation])
    journal: Journal = field(default_factory=Journal)

    def present(self) -> _Sessions:
        """Every session, without the traces of an interrupted change. Called with the lock held.

        The lock is entered by `with` itself, because a signal handler may raise inside of any function around it.
        """
        self.journal.take_back()
        return self.sessions


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
    """A store in this process. All open adapters of the same `name` share it; without one, the adapter has its own.

    The data are gone when the last adapter of a store is closed.
    """

    backend = "memory"

    def __init__(self, *, name: str | None = None, namespace: str = "", mode: Mode = "blocking") -> None:
        self.mode = mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._namespace = namespace
        self._owner: str | None = None
        self._store = _store(name)

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view._namespace = self._namespace if namespace is None else namespace
        view._owner = self._owner if owner is None else owner
        return view

    async def setup(self) -> None:
        """Nothing to create."""

    async def close(self) -> None:
        self._store = _Store()  # the named store is collected when no adapter refers to it

    async def health(self) -> HealthStatus:
        return HealthStatus(status="healthy", details={"durable": False}, latency_ms=0.0)

    async def create_session(self, session: Session) -> Session:
        with (store := self._store).lock:
            sessions = store.present()
            existing = self._taken(sessions, session.id)
            if existing is None:
                created = sessions[self._namespace, session.id] = Conversation(session, store.journal)
                return created.session()
            return self._repeated(existing, session)

    async def get_session(self, session_id: str) -> Session | None:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._live(sessions, session_id)
            return None if conversation is None else conversation.session()

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._existing(sessions, session_id)
            conversation.check_version(expected_version)
            conversation.update(patch)
            return store.journal.commit(conversation.session())

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._own(sessions.get((self._namespace, session_id)))
            if conversation is None or not (expired_before is None or conversation.is_expired(expired_before)):
                return False
            conversation.check_version(expected_version)
            del sessions[self._namespace, session_id]
            return True

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        start, conditions = listing_start(filter, cursor), replace(filter, behind=None)
        with (store := self._store).lock:
            sessions = store.present()
            now = self.clock()
            found = [
                (place, conversation)
                for conversation in self._mine(sessions)
                if not conversation.is_expired(now)
                and conditions.matches(conversation.head)
                and filter.is_behind(place := conversation.place(filter), start)
            ]
            found.sort(key=itemgetter(0), reverse=filter.is_downwards)
            page = tuple(conversation.session() for _, conversation in found[:limit])
        more = encode_cursor(found[limit - 1][0], bound_to=filter.key()) if len(found) > limit else None
        return Page(page, more)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        with (store := self._store).lock:
            sessions = store.present()
            new, conversation = terms.get("create"), self._live(sessions, session_id)
            if conversation is not None:
                return store.journal.commit(conversation.append(messages, client_ids, terms))
            if new is None:
                raise SessionNotFoundError(session_id)
            if self._taken(sessions, session_id) is not None:
                raise SessionExistsError(session_id)
            created = Conversation(new, store.journal)
            appended = store.journal.commit(replace(created.append(messages, client_ids, terms), created=True))
            sessions[self._namespace, session_id] = created
            return appended

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        with (store := self._store).lock:
            sessions = store.present()
            return self._existing(sessions, session_id).history.get(message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        start = None if cursor is None else decode_cursor(cursor, bound_to=query.key(session_id), form=int)
        with (store := self._store).lock:
            sessions = store.present()
            found, more = self._existing(sessions, session_id).history.find(query, start)
        return _page(found, more, query.key(session_id))

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._existing(sessions, session_id)
            found, more = conversation.history.find(query, None)
            shown = {message.id for message in found}
            return ConversationPage(
                session=conversation.session(),
                messages=_page(found, more, query.key(session_id)),
                system_messages=tuple(message for message in conversation.history.system() if message.id not in shown),
            )

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._existing(sessions, session_id)
            current = conversation.history.get(message_id)
            if current is None:
                raise MessageNotFoundError(session_id, message_id)
            return store.journal.commit(conversation.history.replace(current, patch.apply(current)))

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        with (store := self._store).lock:
            sessions = store.present()
            return store.journal.commit(self._existing(sessions, session_id).history.remove(message_id))

    async def delete_all_messages(self, session_id: str) -> int:
        with (store := self._store).lock:
            sessions = store.present()
            return store.journal.commit(self._existing(sessions, session_id).history.clear())

    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        with (store := self._store).lock:
            sessions = store.present()
            conversation = self._existing(sessions, session_id)
            replaced = store.journal.commit(conversation.replace_tail(after_id, messages, client_ids, expected_last_id))
            return replaced if return_removed else replace(replaced, removed=())

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        with (store := self._store).lock:
            sessions = store.present()
            source = self._existing(sessions, source_id)
            existing = self._taken(sessions, session.id)
            if existing is not None:
                return self._repeated(existing, session)
            fork = store.journal.commit(source.fork(session, through_id))
            sessions[self._namespace, session.id] = fork
            return fork.session()

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        start = (
            ("", "") if cursor is None else decode_cursor(cursor, bound_to=f"forks {source_id}", form=tuple[str, str])
        )
        with (store := self._store).lock:
            sessions = store.present()
            source = self._existing(sessions, source_id)
            forks = (self._own(sessions.get((self._namespace, session_id))) for session_id in source.fork_ids)
            found = sorted(
                (fork for fork in forks if fork is not None and fork.source_identity is source.identity),
                key=lambda fork: fork.creation_key,
            )
            found = [conversation for conversation in found if conversation.creation_key > start]
            page = tuple(conversation.as_fork() for conversation in found[:limit])
        last = found[limit - 1].creation_key if len(found) > limit else None
        return Page(page, None if last is None else encode_cursor(last, bound_to=f"forks {source_id}"))

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        terms, binding = SearchTerms.of(text), repr(["search", text, user_id, session_id])
        start = None if cursor is None else decode_cursor(cursor, bound_to=binding, form=tuple[str, str, int])
        with (store := self._store).lock:
            sessions = store.present()
            where = self._searched(sessions, user_id, session_id)
            matches = (
                (position, message)
                for conversation in sorted(where, key=lambda each: each.creation_key, reverse=True)
                for place, message in conversation.history.newest_first()
                for position in [(*conversation.creation_key, place)]
                if (start is None or position < start) and terms.are_in(searched_words(message.role, message.content))
            )
            found = list(islice(matches, limit + 1))
        more = encode_cursor(found[limit - 1][0], bound_to=binding) if len(found) > limit else None
        return Page(tuple(message for _, message in found[:limit]), more)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        start = ("", "") if cursor is None else decode_cursor(cursor, bound_to="expired", form=tuple[str, str])
        with (store := self._store).lock:
            sessions = store.present()
            expired = (conversation for conversation in self._mine(sessions) if conversation.is_expired(before))
            found = sorted(key for conversation in expired if (key := conversation.expiry_key) > start)
        more = encode_cursor(found[limit - 1], bound_to="expired") if len(found) > limit else None
        return Page(tuple(session_id for _, session_id in found[:limit]), more)

    def _mine(self, sessions: _Sessions) -> list[Conversation]:
        found = (conversation for (namespace, _), conversation in sessions.items() if namespace == self._namespace)
        return [conversation for conversation in found if self._own(conversation) is not None]

    def _searched(self, sessions: _Sessions, user_id: str | None, session_id: str | None) -> list[Conversation]:
        """The conversations in which a search looks."""
        found = self._mine(sessions) if session_id is None else [self._existing(sessions, session_id)]
        now = self.clock()
        return [each for each in found if not each.is_expired(now) and user_id in (None, each.head.user_id)]

    def _own(self, conversation: Conversation | None) -> Conversation | None:
        """The conversation, unless this is a view of another user."""
        if conversation is None or self._owner is None or conversation.head.user_id == self._owner:
            return conversation
        return None

    def _taken(self, sessions: _Sessions, session_id: str) -> Conversation | None:
        """The conversation that has this id, whoever owns it."""
        conversation = sessions.get((self._namespace, session_id))
        return None if conversation is None or conversation.is_expired(self.clock()) else conversation

    def _live(self, sessions: _Sessions, session_id: str) -> Conversation | None:
        return self._own(self._taken(sessions, session_id))

    def _repeated(self, existing: Conversation, session: Session) -> Session:
        """The session that exists, if this create stored it. Raises SessionExistsError otherwise."""
        if self._own(existing) is None or not is_repeated_create(existing.session(), session):
            raise SessionExistsError(session.id)
        return existing.session()

    def _existing(self, sessions: _Sessions, session_id: str) -> Conversation:
        conversation = self._live(sessions, session_id)
        if conversation is None:
            raise SessionNotFoundError(session_id)
        return conversation
