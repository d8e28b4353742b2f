"""session-continuity on Amazon DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_dynamodb._version import __version__

if TYPE_CHECKING:
    from session_continuity_dynamodb.adapter import DynamoDBStorage

__all__ = ["DynamoDBStorage", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: core imports this package to learn of the plugin, without any AWS library.
    if name == "DynamoDBStorage":
        from session_continuity_dynamodb.adapter import DynamoDBStorage

        return DynamoDBStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
