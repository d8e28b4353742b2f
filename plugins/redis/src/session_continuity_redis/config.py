"""The options of the config strings, by scheme."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError


def capabilities(max_message_bytes: int) -> Capabilities:
    """What a store can do, whatever server it is on."""
    return Capabilities(
        max_turn=1000,
        unscoped_listing=True,
        indexed_listing=True,
        strong_listing=True,
        listing_totals=True,
        native_expiry=True,
        durable=True,
        shared=True,
        max_message_bytes=max_message_bytes,
    )


class RedisOptions(BackendOptions):
    """`redis://[user[:password]@][host[:port]][/db]`, and `rediss://` for TLS."""

    host: str = "localhost"
    port: int = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    username: str | None = None
    password: SecretStr | None = None
    prefix: str = Field(
        default="sc", pattern=r"^[\w.:-]{1,64}$", description="What every key of this application begins with."
    )
    timeout: float = Field(default=5.0, gt=0, le=3600, description="Seconds that one try of one request may take.")
    connect_timeout: float = Field(
        default=5.0, gt=0, le=3600, description="Seconds that opening a connection may take."
    )
    retries: int = Field(default=3, ge=0, description="How often a request is sent again after a lost connection.")
    max_connections: int = Field(default=100, ge=1, description="Connections that the pool opens at most.")
    grace: int = Field(
        default=86_400, ge=0, le=10**9, description="Seconds that an expired session is kept for whoever cleans up."
    )
    index_parts: int = Field(
        default=1, ge=1, le=1024, description="Keys of a namespace's index; the same for the life of the data."
    )
    max_message_bytes: int = Field(default=32 * 2**20, ge=1, le=256 * 2**20, description="The largest message.")
    tls_ca: str | None = Field(default=None, description="A file of certificates to trust in place of the system's.")
    tls_cert: str | None = Field(default=None, description="A file with this client's certificate.")
    tls_key: str | None = Field(default=None, description="A file with this client's key.")

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        fields = _authority(url)
        if path := url.path.strip("/"):
            fields["db"] = path
        return fields


class UnixOptions(RedisOptions):
    """`unix://[user[:password]@]/path/to/socket`; `path` in place of host and port."""

    path: str = ""

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.host or url.port or not url.path.strip("/"):
            raise ConfigError("a unix:// URL is unix:///path/to/the/socket")
        return {**_authority(url), "path": url.path}


class ManyNodesOptions(RedisOptions):
    """What the schemes of several servers share: `node`, further `host:port`, and TLS by option."""

    node: list[str] = Field(default_factory=list)
    tls: bool = False

    @field_validator("node", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def nodes(self) -> list[tuple[str, int]]:
        """Every address stated. Raises ConfigError for one that is no `host:port`."""
        return [(self.host, self.port), *map(_address, self.node)]


class ClusterOptions(ManyNodesOptions):
    """`redis+cluster://[user[:password]@]host[:port][?node=host:port…]`; any nodes of the cluster, it tells of the
    others."""

    index_parts: int = Field(default=8, ge=1, le=1024)

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.path.strip("/"):
            raise ConfigError("a redis+cluster:// URL takes no database: a cluster has one only")
        return _authority(url)


class SentinelOptions(ManyNodesOptions):
    """`redis+sentinel://[user[:password]@]host[:port]/service[/db][?node=host:port…]`; the address is a Sentinel's,
    user and password are the server's."""

    port: int = Field(default=26379, ge=1, le=65535)
    service: str = Field(min_length=1, description="The name under which the Sentinels watch the primary.")
    sentinel_password: SecretStr | None = None

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        service, _, db = url.path.strip("/").partition("/")
        if not service:
            raise ConfigError("a redis+sentinel:// URL names the service: redis+sentinel://host:26379/mymaster")
        return {**_authority(url), "service": service, **({"db": db} if db else {})}


def _authority(url: BackendURL) -> dict[str, Any]:
    stated = {"host": url.host, "port": url.port, "username": url.user, "password": url.password}
    return {name: value for name, value in stated.items() if value}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ConfigError("option node is host:port; repeat it for further nodes")
    return host.removeprefix("[").removesuffix("]"), int(port)
