"""The options of `dynamodb://TABLE`."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

MAX_ITEM_BYTES = 400 * 1024

MAX_TURN_BYTES = (4 * 1024 - 64) * 1024
"""What one transaction takes, less room for the activity item and the pointers."""

PART_BYTES = 396 * 1024
"""How much of a body one part holds; the rest of its item is room for the longest key."""

_MOST_PARTS = 10
"""The parts of one message: as many as a transaction takes, by their bytes."""

_SECRETS = frozenset(
    {
        "access_key",
        "access_key_id",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "key",
        "password",
        "secret",
        "secret_access_key",
        "secret_key",
        "session_token",
        "token",
    }
)
_CHAIN = (
    "a dynamodb:// URL takes no credentials; leave them to the AWS chain: a role, the AWS_* variables, "
    "or a profile that ?profile=… names"
)


class DynamoDBOptions(BackendOptions):
    """Where the table is and how to talk to it. Times are in seconds."""

    table: str = Field(min_length=3, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")
    region: str | None = Field(default=None, description="AWS region; else the AWS chain's.")
    profile: str | None = Field(default=None, description="A profile of the AWS configuration.")
    endpoint_url: str | None = Field(default=None, description="Another endpoint, for an emulator or a VPC.")
    consistent_read: bool = Field(default=True, description="False halves the price of reads, which may then lag.")
    append: Literal["atomic", "serial"] = Field(
        default="atomic", description="`serial` writes item by item: half the price, but a crash can split a write."
    )
    listing: Literal["exact", "index"] = Field(
        default="index",
        description="`exact` reads the totals with a page, for a second request and half a unit a session.",
    )
    create_table: bool = Field(default=False, description="Make a missing table when the store is opened.")
    connect_timeout: float = Field(default=2.0, gt=0, le=3600)
    read_timeout: float = Field(default=5.0, gt=0, le=3600)
    max_attempts: int = Field(default=4, ge=1, le=20, description="Tries of one request by the SDK.")
    retry_deadline: float = Field(
        default=20.0, ge=0, le=3600, description="How long throttled and conflicting writes are tried again."
    )
    max_pool_connections: int = Field(default=32, ge=1, le=1000)
    transaction_items: int = Field(
        default=100, ge=4, le=100, description="The engine's limit; old DynamoDB Local takes 10."
    )
    compression: Literal["zlib", "zstd"] | None = Field(
        default=None, description="Packs bodies over 2 KB; the TypeScript kit cannot read them."
    )

    @field_validator("endpoint_url")
    @classmethod
    def _is_plain_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://host:port or https://host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("an address without user, password and query")
        return url

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.user is not None or url.password is not None:
            raise ConfigError(_CHAIN)
        if url.port or url.path.strip("/"):
            raise ConfigError("a dynamodb:// URL is dynamodb://TABLE?option=value, without a port and a path")
        if not url.host:
            raise ConfigError("a dynamodb:// URL names its table: dynamodb://TABLE?region=…")
        return {"table": url.host}

    @classmethod
    def from_url(cls, url: BackendURL) -> Self:
        if any(name.lower().replace("-", "_") in _SECRETS for name in url.query):
            raise ConfigError(_CHAIN)
        return super().from_url(url)


def capabilities(options: DynamoDBOptions) -> Capabilities:
    """A turn is one transaction: the activity item, and for each message its item and perhaps its pointer."""
    return Capabilities(
        max_turn=(options.transaction_items - 1) // 2 if options.append == "atomic" else 1,
        unscoped_listing=True,
        listing_totals=options.listing == "exact",
        durable=True,
        shared=True,
        change_feed=True,
        max_message_bytes=max_message_bytes(options),
    )


def max_message_bytes(options: DynamoDBOptions) -> int:
    """The largest body of a message. In a transaction with it are its head, a pointer, the activity item and a row that
    lists system messages; where no two parts fit beside them, a message is one item."""
    most = min(_MOST_PARTS, options.transaction_items - 4) if options.append == "atomic" else _MOST_PARTS
    return most * PART_BYTES if most > 1 else MAX_ITEM_BYTES
