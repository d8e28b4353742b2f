"""Messages whose content is a text, as most are, decoded by pydantic straight from their rows. Pure.

Two models have the names and forms that the values have in a row. Their instances are then made instances of core's
models, whose layout is the same. That takes half the time of passing the values on one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import AliasGenerator, AliasPath, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from session_continuity import Message, MessageMetadata, ToolCall, ToolResult
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.json_models import OWN_KEYS
from session_continuity_dynamodb.items.values import Item

_PATHS = {
    "id": AliasPath(names.ID, "S"),
    "session_id": AliasPath(names.SESSION_ID, "S"),
    "role": AliasPath(names.ROLE, "S"),
    "content": AliasPath(names.CONTENT, "S"),
    "token_count": AliasPath(names.TOKEN_COUNT, "N"),
    "created_at": AliasPath(names.CREATED_AT, "S"),
    "updated_at": AliasPath(names.UPDATED_AT, "S"),
}
_NOWHERE = AliasPath("-")
"""The path of the metadata, which are decoded apart: the row has them as JSON text."""


class _Row(Message):
    model_config = ConfigDict(
        extra="ignore", alias_generator=AliasGenerator(validation_alias=lambda field: _PATHS.get(field, _NOWHERE))
    )


class _CamelCall(ToolCall):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class _CamelResult(ToolResult):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class _CamelMetadata(MessageMetadata):
    model_config = ConfigDict(alias_generator=to_camel)
    # Lists of subclasses, which no list of the base class may replace in general: nobody adds to these.
    tool_calls: list[_CamelCall] = Field(default_factory=list[_CamelCall])  # type: ignore[assignment]
    tool_results: list[_CamelResult] = Field(default_factory=list[_CamelResult])  # type: ignore[assignment]


# The validators themselves, without the methods around them, which take a tenth of the time to read a message.
_read_row: Callable[[Any], _Row] = TypeAdapter(_Row).validator.validate_strings
_read_metadata: Callable[[str], _CamelMetadata] = TypeAdapter(_CamelMetadata).validator.validate_json

_AMBIGUOUS = frozenset({OWN_KEYS, *MessageMetadata.model_fields})
"""Further keys of metadata that mean something else than they say."""

_set_attribute = object.__setattr__


def read_text_message(item: Item) -> Message | None:
    """The message in a row, or None if the row is not of the usual form: its content is not a text, it is compressed or
    in parts, or another writer has left something unusual."""
    if "S" not in item.get(names.CONTENT, ()) or names.BODY in item or names.BLOCKS in item:
        return None
    try:
        message: Message = _read_row(item)
        if (text := item.get(names.METADATA)) is not None:
            metadata = _read_metadata(text["S"])
            if (extra := metadata.__pydantic_extra__) and not _AMBIGUOUS.isdisjoint(extra):
                return None
            # A model_copy would take as long as the validation, and nobody else has this message yet.
            vars(message)["metadata"] = _to_core(metadata)
            message.model_fields_set.add("metadata")
    except (KeyError, ValidationError):
        return None
    _set_attribute(message, "__class__", Message)
    return message


def _to_core(metadata: _CamelMetadata) -> MessageMetadata:
    for call in metadata.tool_calls:
        _set_attribute(call, "__class__", ToolCall)
    for result in metadata.tool_results:
        _set_attribute(result, "__class__", ToolResult)
    _set_attribute(metadata, "__class__", MessageMetadata)
    return metadata
