"""AWS clients, one for each adapter. The only module that creates them.

Clients that are created here have explicit retries and timeouts, because botocore's defaults change between versions.
They also decode responses themselves: botocore walks through a response value by value, which takes nine tenths of the
time of a long read. A listener to the `before-parse` event parses the body with orjson and leaves botocore an empty
one. Clients that the caller created keep botocore's decoding. The results are the same, except for binary values,
which are Base64 text or bytes (`values.binary` reads both).
"""

from __future__ import annotations

import io
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from session_continuity import ConfigError, FirstLoop, LoopBound, Mode, StorageClosedError, ThreadRunner, call_runner
from session_continuity_dynamodb._version import __version__
from session_continuity_dynamodb.items.json_models import parse_halves
from session_continuity_dynamodb.requests.errors import NotDynamoDBError

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from session_continuity import CallRunner
    from session_continuity_dynamodb.config import DynamoDBOptions

_ITEM_METHODS = {
    "BatchGetItem": "batch_get_item",
    "BatchWriteItem": "batch_write_item",
    "DeleteItem": "delete_item",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "Query": "query",
    "Scan": "scan",
    "TransactWriteItems": "transact_write_items",
    "UpdateItem": "update_item",
}
_TABLE_METHODS = {
    "CreateTable": "create_table",
    "DescribeTable": "describe_table",
    "DescribeTimeToLive": "describe_time_to_live",
    "UpdateTimeToLive": "update_time_to_live",
}
_METHODS = {**_ITEM_METHODS, **_TABLE_METHODS}

ITEM_OPERATIONS = frozenset(_ITEM_METHODS)
"""The operations on items. Their responses are decoded here, and state their capacity units on request."""

_THREADS = 16  # in async mode without aiobotocore: the requests that run at the same time
_LARGEST_WRITE = 1024 * 1024


class Client(Protocol):
    """Sends a request and returns the response, in async and in blocking mode."""

    @property
    def native(self) -> Any:
        """The AWS client, or None before the first request if it is created here."""

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request. Raises botocore's errors, and StorageClosedError after `close`."""
        ...

    async def close(self) -> None:
        """Close the AWS client if it was created here, also while it is being created."""


def client_for(options: DynamoDBOptions, mode: Mode, native: Any = None) -> Client:
    """A client around the caller's AWS client, or one that creates its own at the first request.

    Raises ImportError without the SDK, and ConfigError for an aiobotocore client in blocking mode.
    """
    if native is None:
        return AioClient(options) if mode == "async" and _has_aiobotocore() else BotoClient(options, mode)
    if _is_async(native):
        if mode == "blocking":
            raise ConfigError("an aiobotocore client works in async mode only; pass a boto3 client")
        return AioClient(options, native)
    return BotoClient(options, mode, native)


def _has_aiobotocore() -> bool:
    try:
        import_module("aiobotocore.session")
    except ImportError:
        return False
    return True


def _is_async(native: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "aiobotocore" for base in type(native).__mro__)


def _settings(options: DynamoDBOptions) -> dict[str, Any]:
    """The arguments of botocore's Config."""
    return {
        "retries": {"mode": "standard", "total_max_attempts": options.max_attempts},
        "connect_timeout": options.connect_timeout,
        "read_timeout": options.read_timeout,
        "max_pool_connections": options.max_pool_connections,
        "parameter_validation": False,  # DynamoDB validates every request anyway
        "user_agent": f"session-continuity/{__version__} md/Botocore#{import_module('botocore').__version__}",
    }


def decode_fast(native: Any) -> None:
    """Let an AWS client decode responses with orjson."""
    for api in ITEM_OPERATIONS:
        native.meta.events.register(f"before-parse.dynamodb.{api}", _take_body)


def _take_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Parse the body of a successful response, and leave botocore an empty one. Errors are botocore's to parse."""
    if response_dict["status_code"] < 300:
        try:
            response = _parse(response_dict["body"])
        except ValueError as error:
            raise NotDynamoDBError from error
        if not isinstance(response, dict):
            raise NotDynamoDBError
        customized_response_dict.update(cast("dict[str, Any]", response))
        response_dict["body"] = b"{}"


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:  # also for half an emoji, which JavaScript can write
        return parse_halves(body)


class BotoClient:
    """A boto3 client. It is called directly in blocking mode, and in threads in async mode."""

    def __init__(self, options: DynamoDBOptions, mode: Mode, native: Any = None) -> None:
        self._boto3: Any = import_module("boto3")
        self._options = options
        self._client = native
        self._owned = native is None
        self._closed = False
        self._calls: CallRunner = call_runner(mode, threads=_THREADS)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def native(self) -> Any:
        return self._client

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._calls.call(self._invoke, api, params)

    async def close(self) -> None:
        # Closing a client waits for its connections, so in async mode a worker thread does it.
        if isinstance(self._calls, ThreadRunner):
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
            self._drop_connections()
        client = self._client or self._create()
        if self._closed:
            raise StorageClosedError
        response: dict[str, Any] = getattr(client, _METHODS[api])(**params)
        return response

    def _drop_connections(self) -> None:
        """Leave the connections to the parent process after a fork. On shared ones each would get the other's replies.

        Every thread passes here before its first request in this process. Connections that other threads have opened
        since the fork stay open.
        """
        if self._client is not None:
            self._client.close()
        self._process = os.getpid()

    def _create(self) -> Any:
        with self._lock:
            if self._client is None and not self._closed:
                options = self._options
                session = self._boto3.Session(profile_name=options.profile, region_name=options.region)
                client = session.client(
                    "dynamodb",
                    endpoint_url=options.endpoint_url,
                    config=import_module("botocore.config").Config(**_settings(options)),
                )
                decode_fast(client)
                self._client = client
            return self._client


class AioClient:
    """An aiobotocore client for each event loop. One that was passed in serves the loop of its first request only."""

    def __init__(self, options: DynamoDBOptions, native: Any = None) -> None:
        self._options = options
        self._passed = native
        self._closed = False
        self._first_loop = FirstLoop()
        self._stacks: LoopBound[tuple[Any, AsyncExitStack]] = LoopBound(self._open, _release)
        self.native = native

    async def invoke(self, api: str, params: dict[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = await getattr(await self._client(), _METHODS[api])(**params)
        return response

    async def close(self) -> None:
        self._closed = True
        await self._stacks.close()

    async def _client(self) -> Any:
        if self._closed:
            raise StorageClosedError
        if self._passed is not None:
            self._first_loop.check()
            return self._passed
        client, _ = await self._stacks.get()
        self.native = client  # that of the loop that called last
        return client

    async def _open(self) -> tuple[Any, AsyncExitStack]:
        from contextlib import AsyncExitStack

        stack = AsyncExitStack()
        client = await stack.enter_async_context(await self._create_context())
        decode_fast(client)
        client.meta.events.register("before-send.dynamodb.TransactWriteItems", _stream_large_body)
        return client, stack

    async def _create_context(self) -> Any:
        """The context manager of a new client. A thread reads the service's models, which takes about 0.1 s."""
        options = self._options
        session = import_module("aiobotocore.session").AioSession(profile=options.profile)
        thread = ThreadRunner(1)
        try:
            await thread.call(_load_models, session)
        finally:
            thread.close()
        return session.create_client(
            "dynamodb",
            region_name=options.region,
            endpoint_url=options.endpoint_url,
            config=import_module("aiobotocore.config").AioConfig(**_settings(options)),
        )


async def _release(opened: tuple[Any, AsyncExitStack]) -> None:
    await opened[1].aclose()


def _stream_large_body(request: Any, **_: Any) -> None:
    """Send a large body as a stream. aiohttp writes bytes in one go, which blocks the event loop, and warns of it."""
    if isinstance(request.body, bytes) and len(request.body) > _LARGEST_WRITE:
        request.body = io.BytesIO(request.body)


def _load_models(session: Any) -> None:
    loader = session.get_component("data_loader")
    for model in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("dynamodb", model)
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)
