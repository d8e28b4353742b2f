"""What core finds through the entry point. Imports no AWS library."""

from __future__ import annotations

from session_continuity import CONTRACT, Capabilities, Mode, StorageAdapter
from session_continuity_dynamodb.config import DynamoDBOptions

MAX_ITEM_BYTES = 400 * 1024


class DynamoDBPlugin:
    scheme = "dynamodb"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = DynamoDBOptions

    def capabilities(self, options: DynamoDBOptions) -> Capabilities:
        return capabilities(options)

    def create(self, options: DynamoDBOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage.from_options(options, mode=mode)


def capabilities(options: DynamoDBOptions) -> Capabilities:
    """A turn is one transaction: the activity item, and for each message its item and perhaps its pointer."""
    return Capabilities(
        max_turn=(options.transaction_items - 1) // 2 if options.append == "atomic" else 1,
        unscoped_listing=True,
        listing_totals=options.listing == "exact",
        durable=True,
        shared=True,
        change_feed=True,
        max_message_bytes=MAX_ITEM_BYTES,
    )


plugin = DynamoDBPlugin()
