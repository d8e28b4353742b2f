"""The options of `dynamodb://TABLE`."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from session_continuity import BackendOptions, BackendURL, Capabilities, ConfigError

MAX_ITEM_BYTES = 400 * 1024
"""The size of one item."""

MAX_BATCH_BYTES = (4 * 1024 - 64) * 1024
"""The size of one transaction, less room for the counters and the pointers."""

PART_BYTES = 396 * 1024
"""How much of a body one part holds. The rest of its item is room for the longest key."""

_OTHER_ITEMS = 4
"""The items of an append's transaction beside the messages and their pointers: what its terms may need."""

_MOST_PARTS = 10
"""The parts of one message: as many as the size of one transaction allows."""

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
    "a dynamodb:// URL does not take credentials; leave them to the AWS chain: a role, the AWS_* variables, "
    "or the profile in ?profile=…"
)


class DynamoDBOptions(BackendOptions):
    """Where the table is, and how requests are sent to it. Times are in seconds."""

    table: str = Field(min_length=3, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")
    region: str | None = Field(default=None, description="AWS region. Default: the AWS chain's.")
    profile: str | None = Field(default=None, description="A profile of the AWS configuration.")
    endpoint_url: str | None = Field(default=None, description="Another endpoint: an emulator, or a VPC endpoint.")
    consistent_read: bool = Field(default=True, description="False halves the price of reads, which may then lag.")
    append: Literal["atomic", "serial"] = Field(
        default="atomic", description="`serial` writes item by item: half the price, but a crash can split a write."
    )
    listing: Literal["exact", "index"] = Field(
        default="index",
        description="`exact` also reads the totals of a page, for one more request and half a unit a session.",
    )
    create_table: bool = Field(default=False, description="Create a missing table when the store is opened.")
    connect_timeout: float = Field(default=2.0, gt=0, le=3600)
    read_timeout: float = Field(default=5.0, gt=0, le=3600)
    max_attempts: int = Field(default=4, ge=1, le=20, description="The SDK's attempts at one request.")
    retry_deadline: float = Field(
        default=20.0, ge=0, le=3600, description="How long throttled and conflicting writes are repeated."
    )
    max_pool_connections: int = Field(default=32, ge=1, le=1000)
    transaction_items: int = Field(
        default=100, ge=4, le=100, description="The engine's limit. Old versions of DynamoDB Local take 10."
    )
    compression: Literal["zlib", "zstd"] | None = Field(
        default=None, description="Packs bodies over 2 KB. The TypeScript kit cannot read them."
    )
    beside_kit: bool = Field(
        default=False, description="The TypeScript kit writes the same sessions: each append also checks META."
    )

    @field_validator("endpoint_url")
    @classmethod
    def _is_plain_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://host:port or https://host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must not have a user, a password, a query or a fragment")
        return url

    @model_validator(mode="after")
    def _shares_with_kit(self) -> Self:
        if self.beside_kit and self.namespace:
            raise ValueError("beside_kit and namespace exclude each other: the TypeScript kit has no namespaces")
        if self.beside_kit and self.append == "serial":
            raise ValueError("beside_kit needs transactions: leave out append=serial")
        return self

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        if url.user is not None or url.password is not None:
            raise ConfigError(_CHAIN)
        if url.port or url.path.strip("/"):
            raise ConfigError("a dynamodb:// URL has no port and no path: dynamodb://TABLE?option=value")
        if not url.host:
            raise ConfigError("name the table in the URL: dynamodb://TABLE?region=…")
        return {"table": url.host}

    @classmethod
    def from_url(cls, url: BackendURL) -> Self:
        if any(name.lower().replace("-", "_") in _SECRETS for name in url.query):
            raise ConfigError(_CHAIN)
        return super().from_url(url)


def capabilities(options: DynamoDBOptions) -> Capabilities:
    """What a store with these options can do.

    A batch is one transaction of the counters, META, a marker, the last message and, for each message of the batch, its
    item and perhaps a pointer.
    """
    has_transactions = options.append == "atomic"
    is_atomic = has_transactions and options.transaction_items >= _OTHER_ITEMS + 2
    return Capabilities(
        max_batch=max(1, (options.transaction_items - _OTHER_ITEMS) // 2) if has_transactions else 1,
        atomic_turns=is_atomic,
        overlapping_batches=is_atomic,
        conditional_delete=is_atomic,
        forks=is_atomic,
        tail_replacement=is_atomic,
        unscoped_listing=True,
        listing_totals=options.listing == "exact",
        durable=True,
        shared=True,
        namespace_views=not options.beside_kit,
        max_message_bytes=max_message_bytes(options),
    )


def max_message_bytes(options: DynamoDBOptions) -> int:
    """The largest body of a message.

    A transaction with its parts also has its head, a pointer, the counters and a row in the list of system messages. A
    transaction that has no room for two parts beside these limits a message to one item.
    """
    most = min(_MOST_PARTS, options.transaction_items - 4) if options.append == "atomic" else _MOST_PARTS
    return most * PART_BYTES if most > 1 else MAX_ITEM_BYTES
