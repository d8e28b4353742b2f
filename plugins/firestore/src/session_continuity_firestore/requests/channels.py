"""gRPC channels to one database, and the calls on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from session_continuity import Mode
from session_continuity_firestore.config import FirestoreOptions
from session_continuity_firestore.requests.errors import CredentialsError, config_error
from session_continuity_firestore.wire import messages as wire

HOST = "firestore.googleapis.com"
EMULATOR_VARIABLE = "FIRESTORE_EMULATOR_HOST"

_SCOPE = "https://www.googleapis.com/auth/datastore"
_SERVICE = "/google.firestore.v1.Firestore/"

_UNARY: Mapping[str, tuple[Any, Any]] = {
    "GetDocument": (wire.GetDocumentRequest, wire.Document),
    "Commit": (wire.CommitRequest, wire.CommitResponse),
}
_STREAMS: Mapping[str, tuple[Any, Any]] = {
    "BatchGetDocuments": (wire.BatchGetDocumentsRequest, wire.BatchGetDocumentsResponse),
    "RunQuery": (wire.RunQueryRequest, wire.RunQueryResponse),
}

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Without it, a new channel gets the connection of the old one, also if that is dead.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt to connect may take
)
_WITHOUT_THREADS = (("SingleThreadedUnaryStream", 1),)
"""Without it, gRPC starts a thread for each query in blocking mode."""


class Channel:
    """A channel and its calls by name.

    `running` counts the calls that are running. A retired channel is used for no more calls. A broken one is not closed
    either, because a lock of gRPC's may have stayed taken.
    """

    def __init__(self, native: Any) -> None:
        self.native = native
        self.running = 0
        self.is_retired = False
        self.is_broken = False
        self.calls: dict[str, Any] = {}
        for kinds, make in ((_UNARY, native.unary_unary), (_STREAMS, native.unary_stream)):
            for name, (request, response) in kinds.items():
                self.calls[name] = make(
                    _SERVICE + name,
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )


def opener(options: FirestoreOptions, mode: Mode) -> Callable[[], Channel]:
    """A function that opens a channel to the database or emulator of these options.

    The environment is read here, credentials are looked up when the first channel is opened.
    """
    emulator = options.emulator_host or os.environ.get(EMULATOR_VARIABLE)
    arguments = (*_OPTIONS, *(_WITHOUT_THREADS if mode == "blocking" else ()))
    module: Any = grpc.aio if mode == "async" else grpc
    if emulator:
        return lambda: Channel(module.insecure_channel(emulator, options=arguments))
    found: list[Any] = []

    def open_secure() -> Channel:
        if not found:
            found.append(_credentials())
        return Channel(module.secure_channel(HOST, found[0], options=arguments))

    return open_secure


def metadata(database: str, *, emulated: bool) -> tuple[tuple[str, str], ...]:
    """What every request tells about its database."""
    _, project, _, name = database.split("/")
    routing = (
        ("google-cloud-resource-prefix", database),
        ("x-goog-request-params", f"project_id={project}&database_id={name}"),
    )
    return (*routing, ("authorization", "Bearer owner")) if emulated else routing


def is_emulated(options: FirestoreOptions) -> bool:
    """Whether these options name an emulator."""
    return bool(options.emulator_host or os.environ.get(EMULATOR_VARIABLE))


def _credentials() -> Any:
    """The credentials of Google's chain, for a channel. Raises CredentialsError."""
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.grpc
    import google.auth.transport.requests

    auth: Any = google.auth
    try:
        credentials, _ = auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.GoogleAuthError as error:
        raise CredentialsError(type(error).__name__) from error
    plugin = google.auth.transport.grpc.AuthMetadataPlugin(  # type: ignore[no-untyped-call]
        credentials, google.auth.transport.requests.Request()
    )
    return grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), grpc.metadata_call_credentials(plugin))


def channel_of(client: Any) -> tuple[Mode, str, Callable[[], Channel], bool]:
    """Mode, database, the opener of the channel of one of Google's clients, and whether it is emulated.

    Raises ConfigError if it is not one.
    """
    from google.cloud import firestore

    if isinstance(client, firestore.AsyncClient):
        mode: Mode = "async"
    elif isinstance(client, firestore.Client):
        mode = "blocking"
    else:
        raise config_error(
            f"client must be a google.cloud.firestore Client or AsyncClient, not {type(client).__name__}; to open a "
            "store by its URL, use open_storage or SessionManager.open"
        )
    native: Any = client
    emulated = native._emulator_host is not None
    database = f"projects/{native.project}/databases/{native._database}"
    return mode, database, lambda: Channel(_transport(native).grpc_channel), emulated


def _transport(client: Any) -> Any:
    return client._firestore_api.transport
