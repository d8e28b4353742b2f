"""`DynamoDBStorage`: the contract's methods over one table. What each of them does is in the file of its theme."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

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
    SessionContinuityError,
    SessionFilter,
    StorageAdapter,
    StorageClosedError,
    parse_options,
    utc_now,
)
from session_continuity_dynamodb import (
    appending,
    editing,
    listing as listings,
    lookup,
    reading,
    removal,
    sessions,
    table,
)
from session_continuity_dynamodb.bodies import Compression
from session_continuity_dynamodb.clients import Client, client_for
from session_continuity_dynamodb.config import DynamoDBOptions, capabilities
from session_continuity_dynamodb.errors import BACKEND, translate
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.wire import Wire

P = ParamSpec("P")
R = TypeVar("R")


def wire_of(client: Client, options: DynamoDBOptions, mode: Mode) -> Wire:
    """The wire that these options ask for."""
    return Wire(
        client,
        options.table,
        mode=mode,
        deadline=options.retry_deadline,
        atomic=options.append == "atomic",
        consistent=options.consistent_read,
    )


class DynamoDBStorage(StorageAdapter):
    """A store in one DynamoDB table.

    `client` is a boto3 client, or in async mode an aiobotocore one, that stays the caller's: its retries, timeouts and
    region hold, and `close` leaves it open. Without one the adapter makes its own at the first request. The other
    arguments are the options of a `dynamodb://` URL. Raises ConfigError for a wrong one, ImportError without boto3.
    """

    backend = BACKEND

    def __init__(
        self,
        *,
        table: str,
        client: Any = None,
        mode: Mode = "blocking",
        namespace: str = "",
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        consistent_read: bool = True,
        append: Literal["atomic", "serial"] = "atomic",
        listing: Literal["exact", "index"] = "index",
        compression: Compression | None = None,
        **options: Any,
    ) -> None:
        values = {
            "table": table,
            "namespace": namespace,
            "region": region,
            "profile": profile,
            "endpoint_url": endpoint_url,
            "consistent_read": consistent_read,
            "append": append,
            "listing": listing,
            "compression": compression,
            **options,
        }
        self._open(parse_options(DynamoDBOptions, values, scheme=BACKEND), mode, client)

    @classmethod
    def from_options(cls, options: DynamoDBOptions, *, mode: Mode = "blocking", client: Any = None) -> DynamoDBStorage:
        """The adapter with these options."""
        adapter = cls.__new__(cls)
        adapter._open(options, mode, client)
        return adapter

    def _open(self, options: DynamoDBOptions, mode: Mode, client: Any) -> None:
        self.mode = mode
        self.capabilities = capabilities(options)
        self.clock = utc_now
        self.table = options.table
        self._closed = False
        self._client = client_for(options, mode, client)
        wire = wire_of(self._client, options, mode)
        self._store = Store(wire, Keys(options.namespace), options, lambda: self.clock())

    @property
    def native(self) -> Any:
        """The AWS client, for what this class does not offer; None before the first request of an own one."""
        return self._client.native

    def check_open(self, operation: str) -> None:
        """Raises StorageClosedError after `close`."""
        if self._closed:
            raise StorageClosedError(backend=self.backend, operation=operation)

    async def setup(self) -> None:
        self.check_open("setup")
        if self._store.options.create_table:
            await self._run("setup", table.set_up)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._store.wire.close()

    async def health(self) -> HealthStatus:
        self.check_open("health")
        return await table.health(self._store.wire, self._store.item_key("health", "CHECK"))

    async def create_session(self, session: Session) -> Session:
        return await self._run("create_session", sessions.create, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._run("get_session", sessions.get, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._run("update_session", sessions.update, session_id, patch, expected_version)

    async def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        return await self._run("delete_session", removal.delete, session_id, expired_before)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._run("list_sessions", listings.list_sessions, filter, limit, cursor)

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        return await self._run("append_messages", appending.append, session_id, messages, chosen_ids)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._run("get_message", lookup.get_message, session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._run("get_messages", reading.get_messages, session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._run("get_conversation", reading.get_conversation, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._run("update_message", editing.update, session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._run("delete_message", editing.delete, session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._run("delete_all_messages", reading.delete_all_messages, session_id)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._run("get_expired_sessions", listings.get_expired_sessions, before, limit, cursor)

    async def _run(
        self,
        operation: str,
        function: Callable[Concatenate[Store, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What every contract method does: refuse after `close`, and raise nothing but the project's errors."""
        self.check_open(operation)
        try:
            return await function(self._store, *args, **kwargs)
        except SessionContinuityError:
            raise
        except Exception as error:
            raise translate(error, operation, self.table) from error
