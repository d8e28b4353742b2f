"""Items of openai-agents as messages, and back. The framework is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import ValidationError as PydanticError

from session_continuity import (
    Message,
    NewMessage,
    Role,
    ValidationError,
    from_openai_responses,
    replace_invalid_text,
    to_openai_responses,
)
from session_continuity_agents.keeping import keep, kept, plain_json, same_json

__all__ = ["FRAMEWORK", "Item", "items_of", "messages_of"]

FRAMEWORK = "openai_agents"

Item = dict[str, Any]


def messages_of(items: Iterable[Any]) -> list[NewMessage]:
    """Items as messages that everybody can read. `items_of` makes the same items of them again.

    What a model puts out in a row, such as reasoning and parallel calls, is one message.
    """
    plain: list[Item] = [plain_json(item) for item in items]
    together = _read(plain)
    if together is not None and same_json([item for message in together for item in _written(message)], plain):
        return together
    return [_message_of(item) for item in plain]


def items_of(message: Message | NewMessage) -> list[Item]:
    """The items of a message, whoever wrote it."""
    item = kept(message, FRAMEWORK)
    return _written(message) if item is None else [item]


def _message_of(item: Item) -> NewMessage:
    """The message of one item, with the item beside it if it cannot be made of the message again."""
    read = _read([item])
    if read is not None and len(read) == 1 and same_json(_written(read[0]), [item]):
        return read[0]
    readable = _read([replace_invalid_text(item)]) if read is None else read
    message = readable[0] if readable else NewMessage(role=_ROLES.get(str(item.get("role")), "assistant"), content="")
    return keep(message, FRAMEWORK, item)


_ROLES: Mapping[str, Role] = {"user": "user", "system": "system", "developer": "system"}


def _read(items: list[Item]) -> list[NewMessage] | None:
    """The messages of items in the Responses format; None if an item is not in this format."""
    try:
        return from_openai_responses(items)
    except (ValidationError, PydanticError):
        return None


def _written(message: Message | NewMessage) -> list[Item]:
    return cast("list[Item]", to_openai_responses([message])["input"])
