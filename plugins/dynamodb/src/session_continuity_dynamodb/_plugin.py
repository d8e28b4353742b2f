"""What core finds through the entry point. Imports no AWS library."""

from __future__ import annotations

from session_continuity import CONTRACT, Capabilities, Mode, StorageAdapter
from session_continuity_dynamodb.config import DynamoDBOptions, capabilities


class DynamoDBPlugin:
    scheme = "dynamodb"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = DynamoDBOptions
    probe = "session_continuity_dynamodb.probe:probe"

    def capabilities(self, options: DynamoDBOptions) -> Capabilities:
        return capabilities(options)

    def create(self, options: DynamoDBOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage.from_options(options, mode=mode)


plugin = DynamoDBPlugin()
