"""The plugin object that core finds through the entry point. Imports no AWS library."""

from __future__ import annotations

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_dynamodb.config import DynamoDBOptions, capabilities


class DynamoDBPlugin:
    """The plugin of `dynamodb://` URLs."""

    scheme = "dynamodb"
    api_version = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = DynamoDBOptions
    cost_meter = "session_continuity_dynamodb.cost_meter:cost_meter"
    damager = "session_continuity_dynamodb.damager:damage"

    def capabilities(self, options: DynamoDBOptions) -> Capabilities:
        """What a store with these options can do."""
        return capabilities(options)

    def create(self, options: DynamoDBOptions, mode: Mode) -> StorageAdapter:
        """The adapter with these options."""
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage.from_options(options, mode=mode)


plugin = DynamoDBPlugin()
