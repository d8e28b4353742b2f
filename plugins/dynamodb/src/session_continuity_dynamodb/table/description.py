"""Describing the table: what DynamoDB says of it."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from session_continuity_dynamodb.requests.errors import code_of
from session_continuity_dynamodb.requests.sender import Sender


async def describe_table(sender: Sender) -> dict[str, Any] | None:
    """The table's description, or None if there is no table."""
    try:
        response = await sender.request("DescribeTable", {})
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return None
    table: dict[str, Any] = response["Table"]
    return table


def is_active(description: dict[str, Any]) -> bool:
    """Whether the table and its indexes can be used."""
    indexes = description.get("GlobalSecondaryIndexes", [])
    return description.get("TableStatus") == "ACTIVE" and all(
        index.get("IndexStatus", "ACTIVE") == "ACTIVE" for index in indexes
    )


async def describe_expiry(sender: Sender) -> str | None:
    """The attribute by which DynamoDB expires items, or None while that is off."""
    response = await sender.request("DescribeTimeToLive", {})
    found: dict[str, str] = response.get("TimeToLiveDescription", {})
    is_on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return found.get("AttributeName") if is_on else None
