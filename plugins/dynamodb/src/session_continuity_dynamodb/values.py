"""Attribute values: DynamoDB's typed JSON (`{"S": "text"}`) and plain Python, both ways. Pure.

Only what this store uses: text, whole and decimal numbers, booleans, null, binary, lists, maps and sets of texts.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

Value = dict[str, Any]
Item = dict[str, Value]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def text(value: str) -> Value:
    return {"S": value}


def number(value: int | Decimal) -> Value:
    return {"N": f"{value:f}" if isinstance(value, Decimal) else str(value)}


def texts(values: Iterable[str]) -> Value:
    return {"SS": sorted(values)}


def flag() -> Value:
    return {"BOOL": True}


def encode(value: Any) -> Value:
    """A JSON value as an attribute. Numbers must be within DynamoDB's range, see `fits`."""
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
    """Whether a JSON value survives as a native attribute of any engine: no empty text, no number out of range or of
    too many digits, no float that would come back as a whole number, not too deep."""
    return _fits(value, 20)


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        return depth > 0 and all(key != "" and _fits(item, depth - 1) for key, item in held.items())
    if isinstance(value, list):
        return depth > 0 and all(_fits(item, depth - 1) for item in cast("Iterable[Any]", value))
    if isinstance(value, float):
        return 1e-30 < abs(value) < 1e30 and not value.is_integer()
    if isinstance(value, int):
        return abs(value) < 10**38
    return value is None or (isinstance(value, str) and bool(value))


def decode(value: Value) -> Any:
    """An attribute as plain Python: a number becomes int where it is whole, else float; a set becomes a list."""
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
    try:
        return int(digits)
    except ValueError:
        exact = Decimal(digits)
        return int(exact) if exact == exact.to_integral_value() else float(exact)


def seconds(moment: datetime) -> Value:
    """A time as DynamoDB compares it: seconds since 1970, exact to the millisecond."""
    return number(Decimal((moment - _EPOCH) // _MILLISECOND) / 1000)


def whole_seconds(moment: datetime) -> Value:
    """A time as the service's own expiry takes it: rounded up, so that it is never too early."""
    return number(-((_EPOCH - moment) // timedelta(seconds=1)))


def time_of(value: Value | None) -> datetime | None:
    """A stored expiry: a number of seconds, or the ISO text that the TypeScript kit leaves after an update."""
    if value is None or "NULL" in value:
        return None
    if "S" in value:
        return datetime.fromisoformat(value["S"])
    return _EPOCH + int(Decimal(value["N"]) * 1000) * _MILLISECOND


def integer(item: Item, attribute: str, default: int = 0) -> int:
    """The whole number of an attribute; the default where it is missing or something else."""
    found = item.get(attribute, {}).get("N")
    return default if found is None else int(decode_number(found))


def string(item: Item, attribute: str) -> str | None:
    """The text of an attribute; None where it is missing or something else."""
    return item.get(attribute, {}).get("S")


def key_of(item: Item) -> Item:
    """The key of an item."""
    return {name: item[name] for name in ("PK", "SK")}


def by_sort_key(items: Iterable[Item]) -> dict[str, Item]:
    """The items of one partition by their sort key."""
    return {item["SK"]["S"]: item for item in items}


def binary(content: str | bytes) -> bytes:
    """Binary content, whether botocore has decoded the wire's Base64 already or not."""
    return base64.b64decode(content) if isinstance(content, str) else content


def item_size(item: Item) -> int:
    """The size of an item in bytes by DynamoDB's rules: names and UTF-8 texts count, nested ones with their overhead.

    A number is counted by its characters, two to a byte, which is the most that it can take.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Value) -> int:
    [(tag, content)] = value.items()
    if tag == "S":
        return len(content) if content.isascii() else len(content.encode())
    if tag == "N":
        return len(content) // 2 + 2
    if tag == "B":
        return len(binary(content))
    if tag == "M":
        return 3 + sum(len(key.encode()) + 1 + _value_size(item) for key, item in content.items())
    if tag == "L":
        return 3 + sum(1 + _value_size(item) for item in content)
    if tag == "SS":
        return sum(len(item.encode()) for item in content)
    return 1
