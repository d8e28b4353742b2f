"""`PostgresStorage`: the contract on PostgreSQL. Each operation is one statement, a write one call of a function."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from datetime import datetime
from typing import Any, Unpack

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
    parse_options,
    utc_now,
)
from session_continuity_postgres import errors, forks, health, message_edits, message_pages, session_rows, setup, turns
from session_continuity_postgres.codec import key, text_of
from session_continuity_postgres.config import BACKEND, CAPABILITIES, PostgresOptions
from session_continuity_postgres.connections import ApplicationConnections, Connections, OwnedConnections
from session_continuity_postgres.database import Database


class PostgresStorage(StorageAdapter):
    """Sessions in a PostgreSQL database.

    `client` is a psycopg connection in autocommit mode or a pool of psycopg_pool, for blocking code or for asyncio. Its
    mode is the store's mode, and the application closes it. `schema` has the tables. With `create`, `setup` creates and
    migrates them. Raises ConfigError for a wrong argument.
    """

    backend = BACKEND

    def __init__(
        self, client: Any, *, namespace: str = "", schema: str = "session_continuity", create: bool = True
    ) -> None:
        arguments = {"namespace": namespace, "schema": schema, "create": create}
        options = parse_options(PostgresOptions, arguments, scheme=BACKEND)
        self._connections: Connections = (
            client if isinstance(client, OwnedConnections) else ApplicationConnections(client)
        )
        self.mode: Mode = self._connections.mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._create = options.create
        self._is_view = False
        self._database = Database(self._connections, options.schema, key(options.namespace), None, lambda: self.clock)

    @property
    def native(self) -> Database:
        """The statements of this adapter, for its namespace and owner."""
        return self._database

    @property
    def namespace(self) -> str:
        """The namespace whose sessions this adapter reads and writes."""
        return text_of(self._database.namespace)

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        del operation
        return errors.translate(error)

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view._is_view = True
        view._database = self._database.view(namespace, owner, lambda: view.clock)
        return view

    async def setup(self) -> None:
        await setup.prepare(self._connections, self._database.schema, create=self._create)

    async def close(self) -> None:
        if not self._is_view:
            await self._connections.close()

    async def health(self) -> HealthStatus:
        return await health.check_health(self._connections, self._database.schema)

    async def create_session(self, session: Session) -> Session:
        return await session_rows.create(self._database, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await session_rows.get(self._database, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await session_rows.update(self._database, session_id, patch, expected_version)

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        return await session_rows.delete(self._database, session_id, expired_before, expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await session_rows.page(self._database, filter, limit, cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        return await turns.append(self._database, session_id, messages, client_ids, terms)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await message_pages.get(self._database, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await message_pages.page(self._database, session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await message_pages.conversation(self._database, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await message_edits.update(self._database, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await message_edits.remove(self._database, session_id, message_id) > 0

    async def delete_all_messages(self, session_id: str) -> int:
        return await message_edits.remove(self._database, session_id, None)

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
        return await turns.replace_tail(
            self._database, session_id, after_id, messages, client_ids, expected_last_id, return_removed
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await forks.fork(self._database, source_id, session, through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await forks.page(self._database, source_id, limit, cursor)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await session_rows.expired(self._database, before, limit, cursor)
