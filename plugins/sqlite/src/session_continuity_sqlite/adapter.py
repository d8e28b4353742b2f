"""`SqliteStorage`: the contract on one database file. Each operation is one transaction, run on a pooled connection."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from copy import copy
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar, Unpack

from session_continuity import (
    Appended,
    AppendTerms,
    ConversationPage,
    Fork,
    HealthStatus,
    Message,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Replaced,
    Session,
    SessionContinuityError,
    SessionFilter,
    StorageAdapter,
    call_runner,
    parse_options,
    utc_now,
)
from session_continuity_sqlite import (
    forks,
    health,
    message_pages,
    message_rows,
    schema,
    session_rows,
    turns,
    word_index,
)
from session_continuity_sqlite.config import BACKEND, SqliteOptions, Synchronous, capabilities_with
from session_continuity_sqlite.errors import translate
from session_continuity_sqlite.pool import ConnectionPool
from session_continuity_sqlite.session_rows import Scope

P = ParamSpec("P")
R = TypeVar("R")


class SqliteStorage(StorageAdapter):
    """Sessions in the database file `path`. `setup` creates the file; its directory must exist.

    `busy_timeout` is how many seconds a write waits for other writers. `synchronous` says what an acknowledged write
    survives: `normal` the death of the process, `full` a power failure too, at the cost of one wait for the disk. With
    `search`, `setup` builds an index of the messages' words, and `search_messages` works.
    Raises ConfigError for a wrong argument, and PluginError if this Python's SQLite is too old.
    """

    backend = BACKEND

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        namespace: str = "",
        mode: Mode = "blocking",
        busy_timeout: float = 10.0,
        synchronous: Synchronous = "normal",
        search: bool = False,
    ) -> None:
        schema.check_library()
        arguments = {
            "path": os.fspath(path),
            "namespace": namespace,
            "busy_timeout": busy_timeout,
            "synchronous": synchronous,
            "search": search,
        }
        options = parse_options(SqliteOptions, arguments, scheme=BACKEND)
        if options.search:
            word_index.check_library()
        self.mode = mode
        self.capabilities = capabilities_with(search=options.search)
        self.clock = utc_now
        self._namespace = options.namespace
        self._owner: str | None = None
        self._is_view = False
        # Two sets of threads, so that no read waits behind a write that waits for a lock.
        self._reads, self._writes = call_runner(mode), call_runner(mode)
        self._pool = ConnectionPool(
            os.path.abspath(options.path), busy_timeout=options.busy_timeout, synchronous=options.synchronous
        )

    @property
    def native(self) -> ConnectionPool:
        """The connections to the file."""
        return self._pool

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        return translate(error, operation, self._pool.place)

    @property
    def namespace(self) -> str:
        """The namespace whose sessions this adapter reads and writes."""
        return self._namespace

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view._is_view = True
        view._namespace = self._namespace if namespace is None else namespace
        view._owner = self._owner if owner is None else owner
        return view

    async def setup(self) -> None:
        await self._writes.call(self._pool.setup)
        if self.capabilities.text_search:
            await self._writes.call(self._pool.write, word_index.create)
            await self._enter_words()

    async def close(self) -> None:
        if self._is_view:
            return
        await self._writes.call(self._pool.close)
        self._writes.close()
        self._reads.close()

    async def health(self) -> HealthStatus:
        return await self._writes.call(health.check_health, self._pool)

    async def create_session(self, session: Session) -> Session:
        return await self._write(session_rows.create, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._read(session_rows.get, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._write(session_rows.update, session_id, patch, expected_version)

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        return await self._write(session_rows.delete, session_id, expired_before, expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._read(session_rows.page, filter, limit, cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        try:
            return await self._write(turns.append, session_id, messages, client_ids, terms)
        except message_rows.StoredIdError:
            return await self._write(turns.append_checked, session_id, messages, client_ids, terms)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._read(message_pages.get, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._read(message_pages.page, session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._read(message_pages.conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._write(message_rows.update, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._write(message_rows.delete, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._write(message_rows.clear, session_id)

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
        return await self._write(
            turns.replace_tail, session_id, after_id, messages, client_ids, expected_last_id, return_removed
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await self._write(forks.fork, source_id, session, through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await self._read(forks.page, source_id, limit, cursor)

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        if await self._reads.call(self._pool.read, word_index.has_due):
            await self._enter_words()
        return await self._read(word_index.search, text, user_id, session_id, limit, cursor)

    async def _enter_words(self) -> None:
        while await self._writes.call(self._pool.write, word_index.enter_some):
            pass

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._read(session_rows.expired, before, limit, cursor)

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, Scope, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        scope = Scope(self._namespace, self.clock, self._owner)
        return await self._reads.call(self._pool.read, lambda connection: query(connection, scope, *args, **kwargs))

    async def _write(
        self, change: Callable[Concatenate[sqlite3.Connection, Scope, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        scope = Scope(self._namespace, self.clock, self._owner)
        return await self._writes.call(self._pool.write, lambda connection: change(connection, scope, *args, **kwargs))
