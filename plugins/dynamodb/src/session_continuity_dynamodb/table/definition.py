"""The definition of the table: its keys and indexes."""

from __future__ import annotations

from typing import Any, Literal

from session_continuity_dynamodb.items import keys, names

Projection = Literal["ALL", "KEYS_ONLY"]
"""What the indexes hold."""

INDEXES = (keys.USER_INDEX, keys.AGENT_INDEX)
KEYS: dict[str | None, tuple[str, str]] = {
    None: (names.PARTITION_KEY, names.SORT_KEY),
    **{index: keys.index_keys(index) for index in INDEXES},
}
"""The partition key and sort key of the table and of each index."""


def key_schema(index: str | None) -> list[dict[str, str]]:
    """The keys of the table, or of an index, in DynamoDB's form."""
    hash_key, range_key = KEYS[index]
    return [
        {"AttributeName": hash_key, "KeyType": "HASH"},
        {"AttributeName": range_key, "KeyType": "RANGE"},
    ]


def definition(table: str, *, projection: Projection = "ALL") -> dict[str, Any]:
    """The parameters of CreateTable. The table is billed by request."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for names_ in KEYS.values() for name in names_
        ],
        "KeySchema": key_schema(None),
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": key_schema(index), "Projection": {"ProjectionType": projection}}
            for index in INDEXES
        ],
    }
