"""Checks of what a provider or a caller gives: plain ValueErrors that name the field, which `numbered` turns into
ChatFormatErrors that name the message too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError as PydanticError

from session_continuity.errors import ValidationError
from session_continuity.input_errors import choice_hint
from session_continuity.models import Message, NewMessage
from session_continuity.validation import as_list

__all__ = [
    "ChatFormatError",
    "choice_at",
    "kind_of",
    "list_at",
    "numbered",
    "object_from",
    "refuse_keys",
    "string_at",
    "without_library",
]

T = TypeVar("T")

_KINDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    type(None): "null or missing",
    int: "a number",
    float: "a number",
}
_PATH_STEPS = 6


class ChatFormatError(ValidationError):
    """A message of a chat is not in the format. `number` counts the messages, or the items, from 1."""

    code = "chat_format_error"

    def __init__(self, number: int, reason: str, *, what: str = "message") -> None:
        super().__init__(f"{what} {number}: {reason}")
        self.number = number
        self.reason = reason


def numbered(
    raws: Iterable[object], read: Callable[[int, object], Iterable[T]], *, what: str = "message"
) -> Iterator[T]:
    """What `read` makes of each item of a chat. Raises ChatFormatError, and ValidationError if there is no list."""
    for number, raw in enumerate(as_list(raws, "the chat"), 1):
        try:
            yield from read(number, without_library(raw))
        except PydanticError as error:
            raise ChatFormatError(number, _reason(error), what=what) from None
        except ValueError as error:
            raise ChatFormatError(number, str(error), what=what) from None


def _reason(error: PydanticError) -> str:
    """The first problem, with the path to it inside of the message."""
    problem = error.errors(include_url=False, include_input=False)[0]
    steps = problem["loc"]
    if steps[:1] == ("metadata",):
        steps = steps[3:] if steps[1:2] == ("annotations",) else steps[1:]  # without the name of the format
    return ": ".join(filter(None, [".".join(map(str, steps[:_PATH_STEPS])), problem["msg"]]))


def without_library(raw: object) -> object:
    """A client library's object as a JSON object, without its many nulls; anything else unchanged."""
    if isinstance(raw, BaseModel) and not isinstance(raw, (Message, NewMessage)):
        return raw.model_dump(mode="json", exclude_none=True)
    return raw


def object_from(value: object, what: str) -> dict[str, Any]:
    """The value, if it is an object. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, not {kind_of(value)}")
    return cast("dict[str, Any]", value)


def refuse_keys(fields: Mapping[str, Any], *keys: str) -> None:
    """Raise ValueError if the object has one of these keys, which only messages of other formats have."""
    found = next((key for key in keys if fields.get(key)), None)
    if found is not None:
        raise ValueError(f"a message must not have {found!r}")


def list_at(fields: Mapping[str, Any], key: str) -> list[Any]:
    """The list at a key. Raises ValueError."""
    value = fields.get(key)
    if not isinstance(value, list):
        raise ValueError(f"'{key}' must be a list, not {kind_of(value)}")
    return cast("list[Any]", fields[key])


def string_at(fields: Mapping[str, Any], key: str, where: str) -> str:
    """The string at a key of what is at `where`. Raises ValueError."""
    value = fields.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{where} must have a string as its '{key}', not {kind_of(value)}")
    return value


def choice_at(fields: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    """The value at a key, which is one of the choices. Raises ValueError that may name the choice that was meant."""
    value = string_at(fields, key, "a message")
    if value not in choices:
        hint = choice_hint(value, choices) or f"must be one of {', '.join(choices)}"
        raise ValueError(f"'{key}': {hint}")
    return value


def kind_of(value: object) -> str:
    """What kind of JSON a value is, in words."""
    for kind, name in _KINDS.items():
        if isinstance(value, kind):
            return name
    return f"a Python {type(value).__name__}"
