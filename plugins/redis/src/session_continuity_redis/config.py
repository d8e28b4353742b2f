"""The options of the URLs, by scheme."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

BACKEND = "redis"


def capabilities(max_message_bytes: int, *, clustered: bool) -> Capabilities:
    """What a store can do. No server and no other option changes it.

    On a cluster an append does not reach the index, so nothing there knows the order of activity.
    """
    return Capabilities(
        max_batch=1000,
        unscoped_listing=True,
        strong_listing=True,
        listing_totals=True,
        durable=True,
        shared=True,
        atomic_turns=True,
        overlapping_batches=True,
        conditional_delete=True,
        tail_replacement=True,
        forks=True,
        ascending_listing=True,
        activity_listing=not clustered,
        owner_guard=True,
        namespace_views=True,
        max_message_bytes=max_message_bytes,
    )


class RedisOptions(BackendOptions):
    """The options of `redis://[user[:password]@][host[:port]][/db]`, and of `rediss://` for TLS."""

    host: str = "localhost"
    port: int = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    username: str | None = None
    password: SecretStr | None = None
    prefix: str = Field(
        default="sc", pattern=r"^[\w.:-]{1,64}$", description="The beginning of every key of this application."
    )
    timeout: float = Field(default=5.0, gt=0, le=3600, description="Seconds that one attempt at a request may take.")
    connect_timeout: float = Field(
        default=5.0, gt=0, le=3600, description="Seconds that opening a connection may take."
    )
    retries: int = Field(
        default=3, ge=0, description="How often a request is sent again after the connection was lost."
    )
    max_connections: int = Field(default=100, ge=1, description="Connections that the pool opens at most.")
    grace: int = Field(
        default=86_400, ge=0, le=10**9, description="Seconds that an expired session is kept for a cleanup."
    )
    index_parts: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of keys of a namespace's index. It must not change while there is data.",
    )
    max_message_bytes: int = Field(
        default=32 * 2**20, ge=1, le=256 * 2**20, description="The size of the largest message."
    )
    tls_ca: str | None = Field(default=None, description="A file of certificates to trust instead of the system's.")
    tls_check: Literal["full", "authority", "none"] = Field(
        default="full",
        description="What is checked of the server's certificate: its authority and its host name, or less.",
    )
    tls_cert: str | None = Field(default=None, description="A file with this client's certificate.")
    tls_key: str | None = Field(default=None, description="A file with this client's key.")

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        fields = _authority(url)
        if path := url.path.strip("/"):
            fields["db"] = path
        return fields


class UnixOptions(RedisOptions):
    """The options of `unix://[user[:password]@]/path/to/socket`: `path` instead of host and port."""

    path: str = ""

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.host or url.port or not url.path.strip("/"):
            raise ConfigError("a unix:// URL must have a path and no host: unix:///path/to/the/socket")
        return {**_authority(url), "path": url.path}


class ManyNodesOptions(RedisOptions):
    """The options that the schemes of several servers share: `node`, for further `host:port`, and `tls`."""

    node: list[str] = Field(default_factory=list)
    tls: bool = False

    @field_validator("node", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def nodes(self) -> list[tuple[str, int]]:
        """Every address stated. Raises ConfigError for one that is not `host:port`."""
        return [(self.host, self.port), *map(_address, self.node)]


class ClusterOptions(ManyNodesOptions):
    """The options of `redis+cluster://[user[:password]@]host[:port][?node=host:port…]`: one or more nodes. The rest are
    discovered."""

    index_parts: int = Field(default=8, ge=1, le=1024)

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.path.strip("/"):
            raise ConfigError("a redis+cluster:// URL must have no path: a cluster has only one database")
        return _authority(url)


class SentinelOptions(ManyNodesOptions):
    """The options of `redis+sentinel://[user[:password]@]host[:port]/service[/db][?node=host:port…]`.

    The address is a Sentinel's. User and password are the server's.
    """

    port: int = Field(default=26379, ge=1, le=65535)
    service: str = Field(min_length=1, description="The name under which the Sentinels watch the primary.")
    sentinel_password: SecretStr | None = None

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        service, _, db = url.path.strip("/").partition("/")
        if not service:
            raise ConfigError("a redis+sentinel:// URL must name the service: redis+sentinel://host:26379/mymaster")
        return {**_authority(url), "service": service, **({"db": db} if db else {})}


def _authority(url: BackendURL) -> dict[str, Any]:
    stated = {"host": url.host, "port": url.port, "username": url.user, "password": url.password}
    return {name: value for name, value in stated.items() if value}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ConfigError("option node must be host:port; repeat it for further nodes")
    return host.removeprefix("[").removesuffix("]"), int(port)
