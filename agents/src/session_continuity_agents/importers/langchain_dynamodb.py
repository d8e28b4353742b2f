"""Histories that LangChain's `DynamoDBChatMessageHistory` keeps: an item for each session, with a list of messages.

The source is dynamodb://TABLE, with the options region, endpoint_url, history_messages_key and ttl_key_name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from session_continuity import ConfigError, ImportedConversation, stable_id
from session_continuity_agents.importers.langchain_histories import history
from session_continuity_agents.importers.reading import client, split_options
from session_continuity_agents.keys import session_key

__all__ = ["conversations"]

_OPTIONS = {"region": "", "endpoint_url": "", "history_messages_key": "History", "ttl_key_name": "expireAt"}


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The histories of a table, by their session ids. Where the table has a second key, the id has both."""
    boto3, errors = client("boto3", "a history in DynamoDB"), client("botocore.exceptions", "a history in DynamoDB")
    url, options = split_options(source, _OPTIONS)
    parts = urlsplit(url)
    if parts.scheme != "dynamodb" or not parts.hostname or parts.query:
        raise ConfigError(f"the source is dynamodb://TABLE, with the options {', '.join(_OPTIONS)}")
    try:
        server = boto3.resource(
            "dynamodb", region_name=options["region"] or None, endpoint_url=options["endpoint_url"] or None
        )
        table = server.Table(parts.netloc)
        keys = [key["AttributeName"] for key in sorted(table.key_schema, key=lambda key: key["KeyType"] != "HASH")]
        for item in _items(table):
            if options["history_messages_key"] in item:
                yield _history(item, [str(item[key]) for key in keys], options)
    except (errors.BotoCoreError, errors.ClientError) as error:
        raise ConfigError(f"the source cannot be read: {error}") from error


def _items(table: Any) -> Iterator[dict[str, Any]]:
    """The items of a table, page by page."""
    page = table.scan(ConsistentRead=True)
    yield from page["Items"]
    while start := page.get("LastEvaluatedKey"):
        page = table.scan(ConsistentRead=True, ExclusiveStartKey=start)
        yield from page["Items"]


def _history(item: dict[str, Any], keys: Sequence[str], options: dict[str, str]) -> ImportedConversation:
    id = stable_id(keys[0]) if len(keys) == 1 else session_key(*keys)
    expires = item.get(options["ttl_key_name"])
    ttl = None if expires is None else datetime.fromtimestamp(int(expires), UTC) - datetime.now(UTC)
    if ttl is not None and ttl <= timedelta():
        return ImportedConversation(id=id, fields=None, unreadable=["the history has expired"])
    return history(id, [_plain(message) for message in item[options["history_messages_key"]]], ttl)


def _plain(value: Any) -> Any:
    """The value as JSON has it: boto3 reads every number as a Decimal."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
