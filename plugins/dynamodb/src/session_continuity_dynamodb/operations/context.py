"""What all operations of one adapter share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from session_continuity_dynamodb.config import DynamoDBOptions
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.operations.hints import Hints
from session_continuity_dynamodb.requests.sender import Sender


@dataclass(frozen=True)
class TableContext:
    """The table of one adapter: its sender, keys, options and hints. `now` reads the adapter's clock."""

    sender: Sender
    keys: Keys
    options: DynamoDBOptions
    now: Callable[[], datetime]
    hints: Hints = field(default_factory=Hints)

    @classmethod
    def from_options(cls, sender: Sender, options: DynamoDBOptions, now: Callable[[], datetime]) -> Self:
        """The context with these options."""
        return cls(sender, Keys(options.namespace), options, now, Hints(rows=not options.beside_kit))
