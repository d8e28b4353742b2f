"""`DynamoDBStorage`: the storage contract on one DynamoDB table. Each method is implemented in `operations`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, Literal, Unpack

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
from session_continuity_dynamodb.config import DynamoDBOptions, capabilities
from session_continuity_dynamodb.items.message_codec import Compression
from session_continuity_dynamodb.operations import (
    appending,
    editing,
    forks,
    listing as listings,
    lookup,
    message_removal,
    reading,
    session_removal,
    sessions,
    tails,
)
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.pending_tails import settled
from session_continuity_dynamodb.requests.client import client_for
from session_continuity_dynamodb.requests.errors import BACKEND, translate
from session_continuity_dynamodb.requests.sender import Sender
from session_continuity_dynamodb.table import check, creation


class DynamoDBStorage(StorageAdapter):
    """A store in one DynamoDB table.

    `client` is a boto3 client, or in async mode also an aiobotocore one. It keeps its own retries, timeouts and region,
    and `close` leaves it open. Without it, the adapter creates a client at the first request. The other arguments are
    the options of a `dynamodb://` URL. Raises ConfigError for a wrong argument, and ImportError without boto3.
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
        self._set_options(parse_options(DynamoDBOptions, values, scheme=BACKEND), mode, client)

    @classmethod
    def from_options(cls, options: DynamoDBOptions, *, mode: Mode = "blocking", client: Any = None) -> DynamoDBStorage:
        """The adapter with these options."""
        adapter = cls.__new__(cls)
        adapter._set_options(options, mode, client)
        return adapter

    def _set_options(self, options: DynamoDBOptions, mode: Mode, client: Any) -> None:
        self.mode = mode
        self.capabilities = capabilities(options)
        self.clock = utc_now
        self.table = options.table
        self._client = client_for(options, mode, client)
        self._is_view = False
        self._set_context(Sender.from_options(self._client, options, mode), options)

    def _set_context(self, sender: Sender, options: DynamoDBOptions) -> None:
        self._context = TableContext.from_options(sender, options, lambda: self.clock())

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        if owner is not None:  # the user of a session is on META, and most calls touch only its counters
            return super().view(namespace=namespace, owner=owner)
        view = copy(self)
        view._is_view = True
        options = self._context.options
        if namespace is not None:
            options = options.model_copy(update={"namespace": namespace})
        view._set_context(self._context.sender, options)
        return view

    @property
    def options(self) -> DynamoDBOptions:
        """The options that this adapter was opened with."""
        return self._context.options

    @property
    def native(self) -> Any:
        """The AWS client, for what this class does not offer. None before the first request if it is created here."""
        return self._client.native

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:  # noqa: ARG002  # same for all
        return translate(error, self.table)

    async def setup(self) -> None:
        if self._context.options.create_table:
            await creation.create_table(self._context.sender)

    async def close(self) -> None:
        if self._is_view:
            return
        await self._context.sender.close()

    async def health(self) -> HealthStatus:
        return await check.check_health(self._context.sender, self._context.keys.item("health", "CHECK"))

    async def create_session(self, session: Session) -> Session:
        return await sessions.create_session(self._context, session)

    async def get_session(self, session_id: str) -> Session | None:
        return await sessions.get_session(self._context, session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await sessions.update_session(self._context, session_id, patch, expected_version)

    async def delete_session(
        self,
        session_id: str,
        *,
        expired_before: datetime | None = None,
        expected_version: int | None = None,
    ) -> bool:
        return await session_removal.delete_session(self._context, session_id, expired_before, expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await listings.list_sessions(self._context, filter, limit, cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        call = partial(appending.append_messages, self._context, session_id, messages, client_ids, terms)
        return await settled(self._context, session_id, call)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        call = partial(lookup.get_message, self._context, session_id, message_id)
        return await settled(self._context, session_id, call)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        call = partial(reading.get_messages, self._context, session_id, query, cursor)
        return await settled(self._context, session_id, call)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        call = partial(reading.get_conversation, self._context, session_id, query)
        return await settled(self._context, session_id, call)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        call = partial(editing.update_message, self._context, session_id, message_id, patch)
        return await settled(self._context, session_id, call)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        call = partial(message_removal.delete_message, self._context, session_id, message_id)
        return await settled(self._context, session_id, call)

    async def delete_all_messages(self, session_id: str) -> int:
        call = partial(message_removal.delete_all_messages, self._context, session_id)
        return await settled(self._context, session_id, call)

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
        call = partial(
            tails.replace_tail,
            self._context,
            session_id,
            after_id,
            messages,
            client_ids,
            expected_last_id,
            return_removed,
        )
        return await settled(self._context, session_id, call)

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        call = partial(forks.fork_session, self._context, source_id, session, through_id)
        return await settled(self._context, source_id, call)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await forks.list_forks(self._context, source_id, limit, cursor)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await listings.get_expired_sessions(self._context, before, limit, cursor)
