"""`SqliteStorage`: the contract kept by statements on one database file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from session_continuity import (
    Appended,
    ConversationPage,
    HealthStatus,
    Message,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Session,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    parse_options,
    utc_now,
    wire_for,
)
from session_continuity_sqlite import health, message_rows, schema, session_rows
from session_continuity_sqlite.config import CAPABILITIES, SqliteOptions, Synchronous
from session_continuity_sqlite.errors import BACKEND
from session_continuity_sqlite.session_rows import Scope
from session_continuity_sqlite.wire import Connections

P = ParamSpec("P")
R = TypeVar("R")


class SqliteStorage(StorageAdapter):
    """Sessions in the database file `path`, which `setup` creates; its directory must exist.

    `busy_timeout` is how many seconds a write waits for other writers. `synchronous` says what an acknowledged write
    survives: `normal` the death of the process, `full` a power loss too, at the price of one wait for the disk.
    Raises ConfigError for a wrong argument, PluginError where this Python's SQLite is too old.
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
    ) -> None:
        schema.check_library()
        stated = {
            "path": os.fspath(path),
            "namespace": namespace,
            "busy_timeout": busy_timeout,
            "synchronous": synchronous,
        }
        options = parse_options(SqliteOptions, stated, scheme=BACKEND)
        self.mode = mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._namespace = options.namespace
        self._reads, self._writes = wire_for(mode), wire_for(mode)  # apart, so that no read waits behind a locked write
        self._connections = Connections(
            os.path.abspath(options.path), busy_timeout=options.busy_timeout, synchronous=options.synchronous
        )
        self._closed = False

    @property
    def native(self) -> Connections:
        """The connections to the file."""
        return self._connections

    async def setup(self) -> None:
        self._check_open("setup")
        await self._writes.call(self._connections.setup)

    async def close(self) -> None:
        self._closed = True
        await self._writes.call(self._connections.close)
        self._writes.close()
        self._reads.close()

    async def health(self) -> HealthStatus:
        self._check_open("health")
        return await self._writes.call(health.examine, self._connections)

    async def create_session(self, session: Session) -> Session:
        return await self._write("create_session", session_rows.create, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._read("get_session", session_rows.get, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._write("update_session", session_rows.update, session_id, patch, expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self._write("delete_session", session_rows.delete, session_id, expired_before)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._read("list_sessions", session_rows.page, filter, limit, cursor)

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        turn = (session_id, messages, chosen_ids)
        try:
            return await self._write("append_messages", message_rows.append, *turn)
        except message_rows.KnownTurnError:
            return await self._write("append_messages", message_rows.append_known, *turn)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._read("get_message", message_rows.get, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._read("get_messages", message_rows.page, session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._read("get_conversation", message_rows.conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._write("update_message", message_rows.update, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._write("delete_message", message_rows.delete, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._write("delete_all_messages", message_rows.clear, session_id)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._read("get_expired_sessions", session_rows.expired, before, limit, cursor)

    async def _read(
        self,
        operation: str,
        query: Callable[Concatenate[sqlite3.Connection, Scope, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        scope = self._scope(operation)
        return await self._reads.call(
            self._connections.read, operation, lambda connection: query(connection, scope, *args, **kwargs)
        )

    async def _write(
        self,
        operation: str,
        change: Callable[Concatenate[sqlite3.Connection, Scope, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        scope = self._scope(operation)
        return await self._writes.call(
            self._connections.write, operation, lambda connection: change(connection, scope, *args, **kwargs)
        )

    def _scope(self, operation: str) -> Scope:
        self._check_open(operation)
        return Scope(self._namespace, self.clock)

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise StorageClosedError(backend=BACKEND, operation=operation)
