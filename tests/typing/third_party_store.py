"""The code of a third party's store. The type checkers check this file; it never runs."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Unpack, assert_type

from pydantic import Field, SecretStr

from session_continuity import (
    CONTRACT,
    Appended,
    AppendTerms,
    BackendOptions,
    BackendPlugin,
    BackendURL,
    Capabilities,
    ConversationPage,
    HealthStatus,
    Message,
    MessageQuery,
    Mode,
    Page,
    Patch,
    Registry,
    Session,
    SessionFilter,
    SessionManager,
    Storage,
    StorageAdapter,
    call_runner,
    conversation_of,
    run_now,
    utc_now,
)


class Client:
    """A blocking client library."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def get(self, key: str, *, consistent: bool) -> bytes | None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class ShelfOptions(BackendOptions):
    token: SecretStr | None = None
    width: int = Field(default=10, gt=0)

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        return {"token": url.password}


class ShelfStorage(StorageAdapter):
    backend = "shelf"

    def __init__(self, client: Client, *, mode: Mode = "blocking") -> None:
        self.mode = mode
        self.capabilities = Capabilities(durable=True, max_message_bytes=400_000)
        self.clock = utc_now
        self._client = client
        self._wire = call_runner(mode)

    async def setup(self) -> None: ...

    async def close(self) -> None:
        await self._wire.call(self._client.close)
        self._wire.close()

    async def health(self) -> HealthStatus:
        return HealthStatus(status="degraded", details={"shelves": 0}, remedy="build one")

    async def create_session(self, session: Session) -> Session:
        return session

    async def get_session(self, session_id: str) -> Session | None:
        found = await self._wire.call(self._client.get, session_id, consistent=True)
        assert_type(found, bytes | None)
        return None if found is None else Session.model_validate_json(found)

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        raise NotImplementedError

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        raise NotImplementedError

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        raise NotImplementedError

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        return (
            Appended(messages=tuple(messages)) if session_id not in client_ids and not terms else Appended(messages=())
        )

    async def get_message(self, session_id: str, message_id: str) -> Message | None:
        raise NotImplementedError

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        raise NotImplementedError

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return await conversation_of(self, session_id, query)

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        raise NotImplementedError

    async def delete_message(self, session_id: str, message_id: str) -> bool:
        raise NotImplementedError

    async def delete_all_messages(self, session_id: str) -> int:
        raise NotImplementedError

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        raise NotImplementedError


class ShelfPlugin:
    scheme = "shelf"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"blocking"})
    options = ShelfOptions

    def capabilities(self, options: ShelfOptions) -> Capabilities:
        return Capabilities(max_message_bytes=options.width)

    def create(self, options: ShelfOptions, mode: Mode) -> StorageAdapter:
        token = None if options.token is None else options.token.get_secret_value()
        return ShelfStorage(Client(token), mode=mode)


plugin: BackendPlugin = ShelfPlugin()


def use() -> None:
    registry = Registry(entry_points=lambda _: [])
    registry.register_backend(plugin)
    assert_type(registry.create("shelf://", "blocking"), StorageAdapter)
    adapter = ShelfStorage(Client())
    assert_type(run_now(adapter.get_session("s")), Session | None)
    SessionManager(Storage(adapter))
