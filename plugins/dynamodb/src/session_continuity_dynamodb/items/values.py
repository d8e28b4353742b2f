"""Attribute values in DynamoDB's JSON, for example `{"S": "text"}`, and as plain Python. Pure.

boto3's own TypeSerializer and TypeDeserializer are not used. They take several times as long, return every number as a
Decimal, and refuse floats, which the JSON values of this project contain.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from session_continuity_dynamodb.items.names import EXPIRES_AT, PARTITION_KEY, SORT_KEY

Value = dict[str, Any]
"""One attribute value: a type tag and the content."""

Item = dict[str, Value]

YES: Value = {"BOOL": True}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DEEPEST = 20


def number(value: int | Decimal) -> Value:
    """A number as an attribute value."""
    return {"N": f"{value:f}" if isinstance(value, Decimal) else str(value)}


def string_set(values: Iterable[str]) -> Value:
    """A set of texts as an attribute value. DynamoDB has no empty sets."""
    return {"SS": sorted(values)}


def encode(value: Any) -> Value:
    """A JSON value as a native attribute value. See `fits` for what can be one."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float)):
        return {"N": repr(value)}
    if isinstance(value, dict):
        return {"M": {key: encode(item) for key, item in cast("dict[str, Any]", value).items()}}
    if isinstance(value, list):
        return {"L": [encode(item) for item in cast("Iterable[Any]", value)]}
    return {"NULL": True}


def fits(value: Any) -> bool:
    """Whether every engine returns this JSON value from a native attribute as it was.

    Engines lose or refuse empty texts, very large and very small numbers, floats that are whole numbers, and deep
    nesting.
    """
    return _fits(value, _DEEPEST)


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return depth > 0 and all(key != "" and _fits(item, depth - 1) for key, item in items)
    if isinstance(value, list):
        return depth > 0 and all(_fits(item, depth - 1) for item in cast("Iterable[Any]", value))
    if isinstance(value, float):
        return 1e-30 < abs(value) < 1e30 and not value.is_integer()
    if isinstance(value, int):
        return abs(value) < 10**38
    return value is None or (isinstance(value, str) and bool(value))


def decode(value: Value) -> Any:
    """An attribute value as plain Python. Whole numbers become int, others float. Sets become lists."""
    [(tag, content)] = value.items()
    if tag in ("S", "BOOL", "SS"):
        return content
    if tag == "N":
        return decode_number(content)
    if tag == "M":
        return {key: decode(item) for key, item in content.items()}
    if tag == "L":
        return [decode(item) for item in content]
    if tag == "NULL":
        return None
    if tag == "B":
        return binary(content)
    if tag == "NS":
        return [decode_number(item) for item in content]
    raise ValueError(f"an attribute of the unknown type {tag}")


def decode_number(digits: str) -> int | float:
    """The number that DynamoDB sent as text."""
    try:
        return int(digits)
    except ValueError:
        exact = Decimal(digits)
        return int(exact) if exact == exact.to_integral_value() else float(exact)


def seconds(moment: datetime) -> Value:
    """A time as seconds since 1970, exact to the millisecond. Conditions compare such numbers."""
    return number(Decimal((moment - _EPOCH) // _MILLISECOND) / 1000)


def whole_seconds(moment: datetime) -> Value:
    """A time as DynamoDB's own expiry reads it: rounded up, so that nothing expires too early."""
    return number(-((_EPOCH - moment) // timedelta(seconds=1)))


def time_of(value: Value | None) -> datetime | None:
    """A stored time: a number of seconds, or the ISO text that the TypeScript kit writes in an update."""
    if value is None or "NULL" in value:
        return None
    if "S" in value:
        return datetime.fromisoformat(value["S"])
    return _EPOCH + int(Decimal(value["N"]) * 1000) * _MILLISECOND


def expiry_of(head: Item) -> datetime | None:
    """When the session of a head expires. None also for what is not a time: such a session cannot be read, and others
    are found beside it."""
    with suppress(ValueError, ArithmeticError, LookupError, TypeError):
        return time_of(head.get(EXPIRES_AT))
    return None


def integer(item: Item, attribute: str, default: int = 0) -> int:
    """The whole number in an attribute, or the default if it is missing or has another type."""
    digits = item.get(attribute, {}).get("N")
    return default if digits is None else int(decode_number(digits))


def string(item: Item, attribute: str) -> str | None:
    """The text in an attribute, or None if it is missing or has another type."""
    return item.get(attribute, {}).get("S")


def key_of(item: Item) -> Item:
    """The key of an item."""
    return {PARTITION_KEY: item[PARTITION_KEY], SORT_KEY: item[SORT_KEY]}


def by_sort_key(items: Iterable[Item]) -> dict[str, Item]:
    """Items of one partition by their sort keys."""
    return {item[SORT_KEY]["S"]: item for item in items}


def binary(content: str | bytes) -> bytes:
    """Binary content. It is Base64 text in responses that this package decodes, and bytes in botocore's."""
    return base64.b64decode(content) if isinstance(content, str) else content


def as_sent(item: Item) -> Item:
    """An item that was read, with its binary attributes as a request takes them."""
    return {name: {"B": binary(value["B"])} if "B" in value else value for name, value in item.items()}


def item_size(item: Item) -> int:
    """The size of an item in bytes by DynamoDB's rules: names, UTF-8 texts, and an overhead for nesting.

    The exact rule for numbers is not published. They are counted as half their characters, which is the most.
    """
    size = 0
    for name, value in item.items():
        size += _text_size(name) + _value_size(value)
    return size


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _value_size(value: Value) -> int:
    [(tag, content)] = value.items()
    if tag == "S":
        return _text_size(content)
    if tag == "N":
        return len(content) // 2 + 2
    if tag == "B":
        return len(binary(content))
    if tag == "M":
        return 3 + sum(_text_size(key) + 1 + _value_size(item) for key, item in content.items())
    if tag == "L":
        return 3 + sum(1 + _value_size(item) for item in content)
    if tag == "SS":
        return sum(map(_text_size, content))
    return 1
