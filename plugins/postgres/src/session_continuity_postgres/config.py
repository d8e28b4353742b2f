"""The options of `postgresql://` URLs, and the store's capabilities, which no option changes."""

from __future__ import annotations

import re
import warnings
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities

BACKEND: Final = "postgresql"

MAX_MESSAGE_BYTES: Final = 256 * 2**20
"""PostgreSQL takes values below 1 GiB, and a batch is one value in which a character may take more bytes than here."""

CAPABILITIES: Final = Capabilities(
    max_batch=None,
    unscoped_listing=True,
    strong_listing=True,
    listing_totals=True,
    ascending_listing=True,
    activity_listing=True,
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

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PORT = re.compile(r"(?P<host>[^:]+|\[.*\]):(?P<port>[0-9]{1,5})")

with warnings.catch_warnings():
    # `schema` is PostgreSQL's word. pydantic's deprecated method of this name is not used on options.
    warnings.filterwarnings("ignore", message='Field name "schema"')

    class PostgresOptions(BackendOptions):
        """The options of `postgresql://[user[:password]@][host[:port]]/[database]`.

        What is not stated is libpq's default: its environment variables, `~/.pgpass`, and the local socket for a URL
        without a host.
        """

        host: str | None = Field(
            default=None,
            description="A host name, an address, the folder of a UNIX socket, or several `host[:port]` with commas.",
        )
        port: int = Field(default=5432, ge=1, le=65535)
        user: str | None = None
        password: SecretStr | None = None
        database: str | None = None
        schema: str = Field(  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
            default="session_continuity", description="The schema of the tables. setup() creates it if it is missing."
        )
        create: bool = Field(
            default=True, description="Whether setup() creates and migrates the tables. False where the user may not."
        )
        sslmode: SslMode = Field(default="prefer", description="How the connection is encrypted, as libpq takes it.")
        sslrootcert: str | None = Field(default=None, description="A file of certificates to trust, or `system`.")
        sslcert: str | None = Field(default=None, description="A file with this client's certificate.")
        sslkey: str | None = Field(default=None, description="A file with this client's key.")
        max_connections: int = Field(
            default=10, ge=1, le=10_000, description="Connections that this process opens at most."
        )
        timeout: float = Field(
            default=30.0, gt=0, le=3600, description="Seconds that a call waits for an answer, or for a connection."
        )
        connect_timeout: float = Field(
            default=5.0,
            gt=0,
            le=3600,
            description="Seconds for a connection to one host, at least 2.",
        )
        prepare: bool | None = Field(
            default=None,
            description="Whether statements are prepared. If not stated: where no pooler is in between.",
        )

        @field_validator("schema")
        @classmethod
        def _is_plain(cls, name: str) -> str:
            if not _SCHEMA.fullmatch(name) or name.startswith("pg_"):
                raise ValueError("must be lower-case letters, digits and _, at most 63, and not begin with pg_")
            return name

        @classmethod
        def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
            stated = {
                "host": url.host,
                "port": url.port,
                "user": url.user,
                "password": url.password,
                "database": url.path.strip("/"),
            }
            return {name: value for name, value in stated.items() if value}

        def addresses(self) -> tuple[str, str] | None:
            """The hosts and their ports as libpq takes them, with commas. None for libpq's default host."""
            if self.host is None:
                return None
            pairs = [_PORT.fullmatch(text) or text for text in self.host.split(",")]
            hosts = [pair if isinstance(pair, str) else pair["host"] for pair in pairs]
            ports = [str(self.port) if isinstance(pair, str) else pair["port"] for pair in pairs]
            return ",".join(host.strip("[]") for host in hosts), ",".join(ports)
