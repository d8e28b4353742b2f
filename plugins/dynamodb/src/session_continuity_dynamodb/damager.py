"""Damages a session or a message in the table, for the conformance suite."""

from __future__ import annotations

from session_continuity import ConfigError, StorageAdapter, run_now, utc_now
from session_continuity_dynamodb.adapter import DynamoDBStorage
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.message_codec import PLAIN
from session_continuity_dynamodb.items.values import Item, Value, key_of, string
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.lookup import find_rows
from session_continuity_dynamodb.requests.client import client_for
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.sender import Sender
from session_continuity_dynamodb.requests.transactions import update


def damage(adapter: StorageAdapter, session_id: str, message_id: str | None) -> None:
    """Make the metadata of a session, or the body of a message, text that is not JSON."""
    if not isinstance(adapter, DynamoDBStorage):
        raise ConfigError("this damages a DynamoDBStorage")
    options = adapter.options
    client = client_for(options, "blocking")  # the adapter's own may be one for async mode
    context = TableContext.from_options(Sender.from_options(client, options, "blocking"), options, utc_now)
    try:
        run_now(_damage(context, session_id, message_id))
    finally:
        run_now(client.close())


async def _damage(context: TableContext, session_id: str, message_id: str | None) -> None:
    change = Update()
    if message_id is None:
        key = context.keys.meta(session_id)
        change.set(names.METADATA, "{" + session_id)
    else:
        [row] = await find_rows(context, session_id, [message_id], consistent=True)
        assert row is not None
        key = key_of(row)
        change.set(names.BODY, _torn(row))
        change.set(names.CODEC, PLAIN)
    [params] = update(key, change).values()
    await context.sender.request("UpdateItem", params)


def _torn(row: Item) -> Value:
    return {"B": b'{"content":' + (string(row, names.CONTENT) or "").encode()}
