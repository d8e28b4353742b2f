"""The types of model fields: strings, ids, times, JSON and content blocks, with their checks.

A check returns its value, or raises ValueError that says what the value must be and never shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, GetCoreSchemaHandler, JsonValue, PlainSerializer, Strict
from pydantic_core import CoreSchema, core_schema

from session_continuity.json_problems import NotJSONError

__all__ = ["Content", "ContentBlock", "format_timestamp"]

MAX_ID_BYTES = 256
MAX_CALL_ID_BYTES = 4096  # some providers put a signature into the id of a call
MAX_JSON_DEPTH = 100
MAX_JSON_INTEGER_BITS = 10_000  # Python refuses to parse integers of more than 4,300 digits
MAX_MESSAGE_TOKENS = 2**31  # in one message, so that a session's total stays far below MAX_COUNT
MAX_COUNT = 2**53  # every store and every JSON parser holds integers up to here exactly
MAX_SECONDS = 1e11  # the longest life of a session, about 3,000 years: its end must fit into a datetime


def to_utc_milliseconds(moment: datetime) -> datetime:
    """The same time in UTC, cut to whole milliseconds. Raises ValueError if UTC has no such year."""
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("must be between the years 1 and 9999 in UTC") from None
    excess = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - excess) if excess else moment


def check_time(value: Any) -> Any:
    """The value, if it is a datetime or an ISO 8601 string. Raises ValueError for numbers, also in strings: their unit
    would be ambiguous."""
    if not (isinstance(value, datetime) or (isinstance(value, str) and ":" in value)):
        raise ValueError("must be a datetime with a time zone, or a string such as 2030-01-31T12:00:00Z")
    return value


def format_timestamp(moment: datetime) -> str:
    """The time as `YYYY-MM-DDTHH:MM:SS.sssZ`. The width is fixed, so sorting the strings sorts the times."""
    return to_utc_milliseconds(moment).isoformat(timespec="milliseconds")[:23] + "Z"


def check_text(text: str) -> str:
    """The text. Raises ValueError if it has a lone surrogate, which UTF-8 cannot encode."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotJSONError("has a lone surrogate, which UTF-8 cannot encode; remove or replace it") from None
    return text


def check_id(value: str, limit: int = MAX_ID_BYTES) -> str:
    """The id. Raises ValueError unless it is 1 to `limit` bytes of UTF-8."""
    size = len(check_text(value).encode())
    if not 1 <= size <= limit:
        raise ValueError(f"must be 1 to {limit} bytes of UTF-8, not {size}")
    return value


def check_call_id(value: str) -> str:
    """The id of a tool call, which is not a key in any store. Raises ValueError unless it is 1 to 4,096 bytes."""
    return check_id(value, MAX_CALL_ID_BYTES)


def check_json(value: JsonValue, depth: int = 0) -> JsonValue:
    """The value. Raises ValueError if a parser would refuse its JSON: for deep nesting, very long integers, and text
    that UTF-8 cannot encode."""
    if depth > MAX_JSON_DEPTH:
        raise NotJSONError(f"must not be nested more than {MAX_JSON_DEPTH} levels deep")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, int) and value.bit_length() > MAX_JSON_INTEGER_BITS:
        raise NotJSONError("must not hold integers of more than 3,000 digits; write longer ones as strings")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)
    return value


class _OnInput:
    """Applies a check to values from Python code, and skips it for JSON text.

    A store wrote the JSON from checked values, and pydantic's parser refuses lone surrogates. Without the calls a page
    of messages decodes in two thirds of the time.
    """

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        checked = core_schema.no_info_after_validator_function(self._check, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=checked)


class _WrittenTime:
    """A time, converted to UTC and cut to milliseconds.

    JSON text in the form that `format_timestamp` writes is parsed without a call of a Python function. That halves the
    time to decode a page of sessions. Every other form takes the general path.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        general = core_schema.no_info_after_validator_function(to_utc_milliseconds, handler(source))
        written = core_schema.str_schema(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        fast = core_schema.no_info_after_validator_function(datetime.fromisoformat, written)
        either = core_schema.union_schema([fast, general], mode="left_to_right")
        checked = core_schema.no_info_before_validator_function(check_time, general)
        return core_schema.json_or_python_schema(json_schema=either, python_schema=checked)


Timestamp = Annotated[
    AwareDatetime,
    _WrittenTime(),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
Id = Annotated[str, Strict(), _OnInput(check_id)]
CallId = Annotated[str, Strict(), _OnInput(check_call_id)]
Text = Annotated[str, Strict(), _OnInput(check_text)]
Whole = Annotated[int, Strict()]
JsonObject = Annotated[dict[str, JsonValue], _OnInput(check_json)]
Json = Annotated[JsonValue, _OnInput(check_json)]


def check_block(block: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The content block. Raises ValueError if it has no `type`, or lacks what a block of its type must have."""
    kind = block.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("must have a string as its 'type', for example {'type': 'text', 'text': …}")
    if kind == "text" and not isinstance(block.get("text"), str):
        raise ValueError("must have a string as its 'text'")
    if kind == "image_url" and not isinstance(block.get("image_url"), (str, dict)):
        raise ValueError("must have a string or a dict as its 'image_url', for example {'url': …}")
    return block


ContentBlock = Annotated[JsonObject, _OnInput(check_block)]
"""One part of a message's content: `text`, `image_url`, or any other `{"type": …}` object, kept verbatim."""

Content = Annotated[Text | list[ContentBlock], Field(union_mode="left_to_right")]
"""A text, or a list of blocks. The two cannot be confused, so the first that fits is taken: pydantic's own way, which
looks for the best fit, doubles the time to decode a text."""
