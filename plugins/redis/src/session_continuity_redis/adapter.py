"""`RedisStorage`: the contract on a Redis server or cluster. The package's docstring describes what the keys hold."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Unpack

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import NoPermissionError, ResponseError

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
from session_continuity_redis.client import Client, ScriptClient, client_of
from session_continuity_redis.config import BACKEND, ClusterOptions, RedisOptions, capabilities
from session_continuity_redis.errors import translate
from session_continuity_redis.forks import Forks
from session_continuity_redis.health import check_server, status_of, status_of_refusal
from session_continuity_redis.index import Index
from session_continuity_redis.keys import Keys
from session_continuity_redis.listing import Listing
from session_continuity_redis.messages import Messages
from session_continuity_redis.runner import ScriptRunner
from session_continuity_redis.sessions import Sessions
from session_continuity_redis.turns import Turns

_DEFAULTS = {name: field.default for name, field in RedisOptions.model_fields.items()}
_ANY_ID = "health"
_NO_PRIMARY = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)


class RedisStorage(StorageAdapter):
    """Sessions on a Redis or Valkey server or cluster.

    `client` is any of redis-py's clients, sync or asyncio, single node or cluster. Its mode is the store's mode, and
    the application closes it. The other parameters are the URL's options of the same names, with the same defaults.
    `index_parts` is 1, and 8 on a cluster. Raises ConfigError for a wrong parameter, and for a client that cannot be
    used.
    """

    backend = BACKEND

    def __init__(
        self,
        client: ScriptClient | Client,
        *,
        namespace: str = "",
        prefix: str = _DEFAULTS["prefix"],
        grace: int = _DEFAULTS["grace"],
        index_parts: int | None = None,
        max_message_bytes: int = _DEFAULTS["max_message_bytes"],
        tls_check: str = _DEFAULTS["tls_check"],
    ) -> None:
        self._client: ScriptClient = client if isinstance(client, ScriptClient) else client_of(client)
        arguments = {"namespace": namespace, "prefix": prefix, "grace": grace, "max_message_bytes": max_message_bytes}
        if index_parts is not None:
            arguments["index_parts"] = index_parts
        options = parse_options(ClusterOptions if self._client.clustered else RedisOptions, arguments, scheme=BACKEND)
        self.mode: Mode = self._client.mode
        self.capabilities = capabilities(options.max_message_bytes, clustered=self._client.clustered)
        self.clock = utc_now
        self._tls_check = tls_check
        self._options = options
        self._is_view = False
        self._prepare(options.namespace, None)

    def _prepare(self, namespace: str, owner: str | None) -> None:
        """Make the parts that work on a namespace, for one user or for all."""
        self._namespace, self._owner = namespace, owner
        options = self._options
        keys = Keys(options.prefix, namespace, options.index_parts, by_activity=not self._client.clustered)
        grace = timedelta(seconds=options.grace)
        self._index = Index(self._client, keys)
        self._runner = ScriptRunner(self._client, keys, lambda: self.clock(), grace, owner)
        self._listing = Listing(self._runner, self._index)
        self._sessions = Sessions(self._runner, self._index, self._listing)
        self._messages = Messages(self._runner, options.max_message_bytes)
        self._forks = Forks(self._runner, self._index, self._sessions)
        self._turns = Turns(self._runner, self._index, self._sessions, self._messages)

    @property
    def namespace(self) -> str:
        """The namespace whose sessions this adapter reads and writes."""
        return self._namespace

    @property
    def native(self) -> ScriptRunner:
        """What runs the scripts on the sessions of this namespace."""
        return self._runner

    def view(self, *, namespace: str | None = None, owner: str | None = None) -> StorageAdapter:
        view = copy(self)
        view._is_view = True
        view._prepare(self._namespace if namespace is None else namespace, self._owner if owner is None else owner)
        return view

    @property
    def round_trips(self) -> int:
        """How many requests this store has sent."""
        return self._client.round_trips

    def translate(self, error: Exception, operation: str) -> SessionContinuityError | None:
        del operation
        return translate(error)

    async def setup(self) -> None:
        try:
            servers = await self._client.info()
        except NoPermissionError:  # the user may not ask; that does not prevent it from storing
            return
        except _NO_PRIMARY:
            await self._client.check_service()
            raise
        for info in servers:
            check_server(info, clustered=self._client.clustered)

    async def close(self) -> None:
        if not self._is_view:
            await self._client.close()

    async def health(self) -> HealthStatus:
        started = time.perf_counter()
        try:
            servers = await self._client.info()
            save = await self._client.config("save")
            await self._index.read([_ANY_ID], self._runner.scope())
        except ResponseError as error:
            if (status := status_of_refusal(error)) is None:
                raise
            return status
        return status_of(servers, save, tls_check=self._tls_check, latency_ms=(time.perf_counter() - started) * 1000)

    async def create_session(self, session: Session) -> Session:
        return await self._sessions.create(session)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._sessions.get(session_id)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        return await self._sessions.update(session_id, patch, expected_version)

    async def delete_session(
        self,
        session_id: str,
        *,
        expired_before: datetime | None = None,
        expected_version: int | None = None,
    ) -> bool:
        return await self._sessions.delete(session_id, expired_before, expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        return await self._listing.page(filter, limit, cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        if all(term in (None, "refuse") for term in terms.values()):
            return await self._messages.append(session_id, messages, client_ids)
        return await self._turns.append(session_id, messages, client_ids, terms)

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        return await self._messages.get(session_id, message_id)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return await self._messages.page(session_id, query, cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await self._messages.conversation(session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return await self._messages.update(session_id, message_id, patch)

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        return await self._messages.delete(session_id, message_id)

    async def delete_all_messages(self, session_id: str) -> int:
        return await self._messages.clear(session_id)

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
        return await self._messages.replace_tail(
            session_id, after_id, messages, client_ids, expected_last_id, return_removed=return_removed
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        return await self._forks.create(source_id, session, through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        return await self._forks.page(source_id, limit, cursor)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        return await self._listing.expired(before, limit, cursor)
