"""`Subject`: the operations that the benchmarks compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from benchmarks.conversation import Item

OPERATIONS = ("append", "last 20", "context", "all", "update", "delete", "list 100")

USER = "u1"
"""The user of every session."""


class Subject(ABC):
    """Something that keeps conversations.

    Every method is one operation as an application asks for it, and takes and returns plain values or models. If the
    subject is `awaited`, the methods return awaitables. `operations` are those that it has.
    """

    name: str
    awaited = False
    operations: tuple[str, ...] = OPERATIONS

    @abstractmethod
    def fill(self, session: str, count: int) -> Any:
        """Create a session with so many messages. This is not timed."""

    @abstractmethod
    def append(self, session: str, item: Item) -> Any:
        """Append one message."""

    @abstractmethod
    def last_20(self, session: str) -> Any:
        """The last 20 messages."""

    def context(self, session: str) -> Any:
        """The session and its last 20 messages."""
        raise NotImplementedError

    @abstractmethod
    def all(self, session: str) -> Any:
        """All messages."""

    def update(self, session: str, text: str) -> Any:
        """Replace the text of the message in the middle, by its id."""
        raise NotImplementedError

    @abstractmethod
    def delete(self, session: str) -> Any:
        """Delete the session with its messages."""

    def list_100(self) -> Any:
        """The user's newest 100 sessions."""
        raise NotImplementedError
