"""`Conversation`, which converters make of a document: items in a format that the library reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard

from session_continuity import (
    NewMessage,
    from_anthropic,
    from_bedrock_converse,
    from_gemini,
    from_openai,
    from_openai_responses,
    from_ui_messages,
)

__all__ = ["READABLE", "Conversation", "Item", "is_list", "is_object", "object_at"]

Item: TypeAlias = dict[str, Any]
READABLE = frozenset(("openai_chat", "openai_responses", "anthropic", "bedrock_converse", "gemini", "ui_messages"))
"""The formats that the library reads."""


def is_object(value: object) -> TypeGuard[Item]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def object_at(value: Any, key: str) -> Item:
    """The object at a key; empty if there is none."""
    found = value.get(key) if is_object(value) else None
    return found if is_object(found) else {}


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


@dataclass(slots=True)
class Conversation:
    """The items of a conversation, the format in which they are, and the rest of the document.

    `places` are the indexes in the document from which the items come, if not every item is from the one at its index.
    """

    items: list[Any]
    format: str = "openai_chat"
    system: Any = None
    request: Item = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])
    places: list[int] | None = None

    def messages(self) -> list[NewMessage]:
        """The messages. Raises ChatFormatError."""
        if self.format == "openai_chat":
            return from_openai(self.items)
        if self.format == "ui_messages":
            return from_ui_messages(self.items)
        return _READERS[self.format](self.items, self.system)


_READERS: Mapping[str, Callable[[list[Any], Any], list[NewMessage]]] = {
    "anthropic": from_anthropic,
    "bedrock_converse": from_bedrock_converse,
    "gemini": from_gemini,
    "openai_responses": from_openai_responses,
}
