"""The options of `firestore://PROJECT[/DATABASE]`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

BACKEND = "firestore"

MAX_MESSAGE_BYTES = 1_000_000
"""The size of one message: that of a document, 1 MiB, less room for its name and for what an edit adds."""

MAX_BATCH = 1000
"""The messages of one append. Firestore keeps 1000 places in a millisecond."""

_SECRETS = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "credentials",
        "key",
        "key_file",
        "password",
        "private_key",
        "secret",
        "token",
    }
)
_CHAIN = (
    "a firestore:// URL does not take credentials; leave them to Google's chain: a service account of the machine, "
    "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`"
)

CAPABILITIES = Capabilities(
    max_batch=MAX_BATCH,
    unscoped_listing=True,
    strong_listing=True,
    listing_totals=True,
    durable=True,
    shared=True,
    max_message_bytes=MAX_MESSAGE_BYTES,
    atomic_turns=True,
    overlapping_batches=True,
    tail_replacement=True,
    forks=True,
    conditional_delete=True,
    owner_guard=True,
    namespace_views=True,
)


class FirestoreOptions(BackendOptions):
    """Where the database is, and how requests are sent to it. Times are in seconds."""

    project: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$")
    database: str = Field(default="(default)", pattern=r"^(\(default\)|[a-z0-9][a-z0-9-]{0,62})$")
    collection: str = Field(
        default="sessions",
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="The collection of the sessions.",
    )
    emulator_host: str | None = Field(
        default=None, description="host:port of an emulator. Default: $FIRESTORE_EMULATOR_HOST."
    )
    timeout: float = Field(default=10.0, gt=0, le=3600, description="Seconds that one attempt at a request may take.")
    max_attempts: int = Field(default=4, ge=1, le=20, description="Attempts at a request that is not answered.")
    retry_deadline: float = Field(
        default=20.0, ge=0, le=3600, description="How long throttled and conflicting writes are repeated."
    )

    @field_validator("emulator_host")
    @classmethod
    def _is_host_and_port(cls, host: str | None) -> str | None:
        if host is None:
            return None
        name, _, port = host.rpartition(":")
        if not name or not port.isdecimal() or "/" in name or "@" in name:
            raise ValueError("must be host:port, for example 127.0.0.1:8080")
        return host

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.user is not None or url.password is not None:
            raise ConfigError(_CHAIN)
        if url.port:
            raise ConfigError("a firestore:// URL has no port; an emulator is named by ?emulator_host=host:port")
        database = url.path.strip("/")
        fields = {"project": url.host} if url.host else {}
        return {**fields, "database": database} if database else fields

    @classmethod
    def from_url(cls, url: BackendURL) -> Self:
        if any(name.lower().replace("-", "_") in _SECRETS for name in url.query):
            raise ConfigError(_CHAIN)
        if not url.host and "project" not in url.query:
            raise ConfigError("name the project in the URL: firestore://PROJECT[/DATABASE]?option=value")
        return super().from_url(url)
