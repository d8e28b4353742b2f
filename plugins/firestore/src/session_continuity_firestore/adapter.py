"""`FirestoreStorage`: the storage contract on Firestore. Each method is implemented in `operations`."""

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
    Turnstile,
    parse_options,
    utc_now,
)
from session_continuity_firestore.config import BACKEND, CAPABILITIES, FirestoreOptions
from session_continuity_firestore.documents.names import Names
from session_continuity_firestore.operations import (
    appending,
    editing,
    forks,
    health,
    listing,
    message_removal,
    reading,
    session_removal,
    sessions,
    tails,
)
from session_continuity_firestore.operations.context import Context
from session_continuity_firestore.requests.client import Connection, Meter, client_of
from session_continuity_firestore.requests.errors import translate


class FirestoreStorage(StorageAdapter):
    """A store in one Firestore database.

    `client` is a `google.cloud.firestore` Client or AsyncClient. It has its own project, database and credentials, and
    `close` leaves it open; its mode is the store's mode. Without it, `project` is needed, and the adapter opens a
    connection at the first request. The other arguments are the options of a `firestore://` URL. Raises ConfigError for
    a wrong argument.
    """

    backend = BACKEND

    def __init__(
        self, *, client: Any = None, project: str | None = None, mode: Mode = "blocking", **options: Any
    ) -> None:
        if client is None:
            values = options if project is None else {"project": project, **options}
            parsed = parse_options(FirestoreOptions, values, scheme=BACKEND)
            self._set(parsed, Connection.from_options(parsed, mode))
        else:
            parsed = parse_options(FirestoreOptions, {"project": project or "of-client", **options}, scheme=BACKEND)
            self._set(parsed, client_of(client, parsed))

    @classmethod
    def from_options(cls, options: FirestoreOptions, *, mode: Mode = "blocking") -> FirestoreStorage:
        """The adapter with these options."""
        adapter = cls.__new__(cls)
        adapter._set(options, Connection.from_options(options, mode))
        return adapter

    def _set(self, options: FirestoreOptions, client: Connection) -> None:
        self._is_view = False
        self.mode = client.mode
        self.capabilities = CAPABILITIES
        self.clock = utc_now
        self._client = client
        self.options = options
        names = Names(client.database, options.collection, options.namespace)
        self._context = Context(client, names, lambda: self.clock(), Turnstile(client.mode))

    @property
    def meter(self) -> Meter:
        """What this store has sent, and what Firestore bills for it."""
        return self._client.meter

    @property
    def context(self) -> Context:
        """The client and the names of documents, for what this class does not offer."""
        return self._context

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        del operation
        return translate(error, self._client.database)

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view._is_view = True
        view._context = self._context.view(namespace, owner)
        return view

    async def setup(self) -> None:
        """Nothing to create: indexes and the database are the operator's. See `session-continuity firestore`."""

    async def close(self) -> None:
        if not self._is_view:
            await self._client.close()

    async def health(self) -> HealthStatus:
        return await health.check_health(self._context, self._client.database)

    async def create_session(self, session: Session) -> Session:
        return await sessions.create_session(self._context, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await sessions.get_session(self._context, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await sessions.update_session(self._context, session_id, patch, expected_version)

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        return await session_removal.delete_session(self._context, session_id, expired_before, expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await listing.list_sessions(self._context, filter, limit, cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        return await appending.append_messages(self._context, session_id, messages, client_ids, terms)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await reading.get_message(self._context, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await reading.get_messages(self._context, session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await reading.get_conversation(self._context, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await editing.update_message(self._context, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await message_removal.delete_message(self._context, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await message_removal.delete_all_messages(self._context, session_id)

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
        return await tails.replace_tail(
            self._context, session_id, after_id, messages, client_ids, expected_last_id, return_removed
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await forks.fork_session(self._context, source_id, session, through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await forks.list_forks(self._context, source_id, limit, cursor)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await listing.get_expired_sessions(self._context, before, limit, cursor)
