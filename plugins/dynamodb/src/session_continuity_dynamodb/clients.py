"""AWS clients: one for each adapter, made at the first request, in either mode. The only file that makes them.

Own clients get explicit retries and timeouts, because botocore's defaults differ from version to version, and a
response decoder: botocore walks a response value by value, which takes nine tenths of the time of a long read. The
decoder takes the body away from it when the `before-parse` event fires; where it does not fire, and for errors,
botocore's own answer is used, which has the same shape but for binary values (`values.binary` reads both).
"""

from __future__ import annotations

import io
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from session_continuity import ConfigError, LoopBound, Mode, StorageClosedError, ThreadWire, wire_for
from session_continuity_dynamodb._version import __version__
from session_continuity_dynamodb.errors import BACKEND, NotTheServiceError

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from session_continuity import Wire as CallWire
    from session_continuity_dynamodb.config import DynamoDBOptions

METHODS = {
    "BatchGetItem": "batch_get_item",
    "BatchWriteItem": "batch_write_item",
    "DeleteItem": "delete_item",
    "DescribeTable": "describe_table",
    "DescribeTimeToLive": "describe_time_to_live",
    "CreateTable": "create_table",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "Query": "query",
    "Scan": "scan",
    "TransactWriteItems": "transact_write_items",
    "UpdateItem": "update_item",
    "UpdateTimeToLive": "update_time_to_live",
}
ITEM_OPERATIONS = frozenset(
    {
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactWriteItems",
        "UpdateItem",
    }
)
"""The operations on items: their answers are decoded here, and state their capacity units when they are asked to."""

_IN_ONE_GO = 1024 * 1024


class Client(Protocol):
    """Sends one request and returns the answer; the same in either mode."""

    @property
    def native(self) -> Any:
        """The AWS client, None before the first request."""

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """Raises what botocore raises."""
        ...

    async def close(self) -> None:
        """Release what was opened here, also where it is being opened. Requests that come later, of calls that began
        before, raise StorageClosedError."""


def client_for(options: DynamoDBOptions, mode: Mode, given: Any = None) -> Client:
    """The client of an adapter: around the given one, or its own. Raises ImportError where the SDK is missing."""
    if given is None:
        return AioClient(options) if mode == "async" and _has_aiobotocore() else BotoClient(options, mode)
    if _is_async(given):
        if mode == "blocking":
            raise ConfigError("an aiobotocore client serves async mode only; hand in a boto3 client")
        return AioClient(options, given)
    return BotoClient(options, mode, given)


def _has_aiobotocore() -> bool:
    try:
        import_module("aiobotocore.session")
    except ImportError:
        return False
    return True


def _is_async(client: Any) -> bool:
    return type(client).__module__.partition(".")[0] == "aiobotocore" or any(
        base.__module__.startswith("aiobotocore") for base in type(client).__mro__
    )


def settings(options: DynamoDBOptions) -> dict[str, Any]:
    """The arguments of botocore's Config."""
    return {
        "retries": {"mode": "standard", "total_max_attempts": options.max_attempts},
        "connect_timeout": options.connect_timeout,
        "read_timeout": options.read_timeout,
        "max_pool_connections": options.max_pool_connections,
        "parameter_validation": False,
        "user_agent": f"session-continuity/{__version__} md/Botocore#{import_module('botocore').__version__}",
    }


def decode_fast(client: Any) -> None:
    """Register the response decoder on a client."""
    for api in ITEM_OPERATIONS:
        client.meta.events.register(f"before-parse.dynamodb.{api}", _take_body)


def _take_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] < 300:
        try:
            answer: Any = orjson.loads(response_dict["body"])
        except orjson.JSONDecodeError as error:
            raise NotTheServiceError from error
        if not isinstance(answer, dict):
            raise NotTheServiceError
        customized_response_dict.update(cast("dict[str, Any]", answer))
        response_dict["body"] = b"{}"


class BotoClient:
    """boto3, called in the caller's stack, or in threads where async code has no aiobotocore."""

    def __init__(self, options: DynamoDBOptions, mode: Mode, given: Any = None) -> None:
        self._boto3: Any = import_module("boto3")
        self._options = options
        self._client = given
        self._owned = given is None
        self._closed = False
        self._calls: CallWire = wire_for(mode, threads=16)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def native(self) -> Any:
        return self._client

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._calls.call(self._invoke, api, params)

    async def close(self) -> None:
        # An idle worker ends at once; what still runs is waited for off the loop.
        if isinstance(self._calls, ThreadWire):
            await self._calls.call(self._release)
        else:
            self._release()
        self._calls.close()

    def _release(self) -> None:
        with self._lock:
            self._closed = True
            if self._owned and self._client is not None:
                self._client.close()

    def _invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        if self._process != os.getpid():
            self._leave_connections()
        client = self._client or self._made()
        if self._closed:
            raise StorageClosedError(backend=BACKEND, operation=api)
        answer: dict[str, Any] = getattr(client, METHODS[api])(**params)
        return answer

    def _leave_connections(self) -> None:
        """After a fork: leave the parent's connections to it, on which each would get the other's replies. Every thread
        that comes here does so before its first request, and what the others use meanwhile stays open."""
        if self._client is not None:
            self._client.close()
        self._process = os.getpid()

    def _made(self) -> Any:
        with self._lock:
            if self._client is None and not self._closed:
                options = self._options
                session = self._boto3.Session(profile_name=options.profile, region_name=options.region)
                client = session.client(
                    "dynamodb",
                    endpoint_url=options.endpoint_url,
                    config=import_module("botocore.config").Config(**settings(options)),
                )
                decode_fast(client)
                self._client = client
            return self._client


class AioClient:
    """aiobotocore, in the loop that made the first request."""

    def __init__(self, options: DynamoDBOptions, given: Any = None) -> None:
        self._options = options
        self._given = given
        self._closed = False
        self._stack: AsyncExitStack | None = None
        self._client = LoopBound(self._opened)
        self.native = given

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        client = await self._client.get()
        if self._closed:
            raise StorageClosedError(backend=BACKEND, operation=api)
        answer: dict[str, Any] = await getattr(client, METHODS[api])(**params)
        return answer

    async def close(self) -> None:
        self._closed = True
        await self._release()

    async def _release(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def _opened(self) -> Any:
        if self._given is not None:
            return self._given
        from contextlib import AsyncExitStack

        stack = AsyncExitStack()
        self.native = await stack.enter_async_context(await self._prepared())
        decode_fast(self.native)
        self.native.meta.events.register("before-send.dynamodb.TransactWriteItems", _send_in_pieces)
        self._stack = stack
        if self._closed:  # meanwhile
            await self._release()
        return self.native

    async def _prepared(self) -> Any:
        """The client's context. The models that it is made from are read in a thread: that takes about 0.1 s."""
        options = self._options
        session = import_module("aiobotocore.session").AioSession(profile=options.profile)
        thread = ThreadWire(1)
        try:
            await thread.call(_read_models, session)
        finally:
            thread.close()
        return session.create_client(
            "dynamodb",
            region_name=options.region,
            endpoint_url=options.endpoint_url,
            config=import_module("aiobotocore.config").AioConfig(**settings(options)),
        )


def _send_in_pieces(request: Any, **_: Any) -> None:
    """Hand a large body over as a stream: bytes over a megabyte are written in one go, which holds up the loop, and
    aiohttp warns of it."""
    if isinstance(request.body, bytes) and len(request.body) > _IN_ONE_GO:
        request.body = io.BytesIO(request.body)


def _read_models(session: Any) -> None:
    loader = session.get_component("data_loader")
    for model in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("dynamodb", model)
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)
