"""JSON values and times as Firestore's values, and back. Pure.

A time is a number of microseconds since 1970, in the type `Moment`, because Firestore keeps microseconds and the models
keep milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NewType, cast

from session_continuity import format_timestamp
from session_continuity_firestore.wire.messages import Timestamp, Value

Moment = NewType("Moment", int)
"""Microseconds since 1970."""

FIRST_MOMENT: Final = Moment(-62_135_596_800_000_000)
LAST_MOMENT: Final = Moment(253_402_300_799_999_999)
"""The first and the last time that Firestore and Python can hold."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000

_MOST_DEPTH = 18
"""Firestore nests maps and arrays 20 levels deep. The field itself, and one level of ours, count."""

_RESERVED_KEY = re.compile(r"__.*__", re.DOTALL)
_MOST_KEY_BYTES = 1500


def moment_of(time: datetime) -> Moment:
    """The moment of an aware time."""
    return Moment((time - _EPOCH) // _MICROSECOND)


def time_of(moment: Moment) -> datetime:
    """The time of a moment, cut to milliseconds as the models are."""
    return _EPOCH + timedelta(milliseconds=moment // 1000)


def timestamp(moment: Moment) -> Any:
    """A moment as protobuf's timestamp."""
    seconds, rest = divmod(moment, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def moment_in(stamp: Any) -> Moment:
    """The moment of protobuf's timestamp."""
    return Moment(int(stamp.seconds) * _SECOND + int(stamp.nanos) // 1000)


def fits(value: Any, depth: int = 1) -> bool:
    """Whether Firestore holds a JSON value exactly: no array inside of an array, no reserved or empty key, no integer
    of more than 64 bits, not too deep."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return depth < _MOST_DEPTH and all(_is_key(key) and fits(item, depth + 1) for key, item in entries.items())
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return depth < _MOST_DEPTH and all(not isinstance(item, list) and fits(item, depth + 1) for item in items)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _is_key(key: str) -> bool:
    return bool(key) and not _RESERVED_KEY.fullmatch(key) and len(key.encode()) <= _MOST_KEY_BYTES


def encode(value: Any) -> Any:
    """A JSON value that `fits`, or a time, as a value."""
    wire = Value()
    _fill(wire, value)
    return wire


def _fill(wire: Any, value: Any) -> None:
    if isinstance(value, str):
        wire.string_value = value
    elif value is None:
        wire.null_value = 0
    elif isinstance(value, bool):
        wire.boolean_value = value
    elif isinstance(value, int):
        wire.integer_value = value
    elif isinstance(value, float):
        wire.double_value = value
    elif isinstance(value, datetime):
        wire.timestamp_value.CopyFrom(timestamp(moment_of(value)))
    elif isinstance(value, Mapping):
        wire.map_value.SetInParent()
        for key, item in cast("Mapping[str, Any]", value).items():
            _fill(wire.map_value.fields[key], item)
    else:
        wire.array_value.SetInParent()
        for item in value:
            _fill(wire.array_value.values.add(), item)


def encode_moment(moment: Moment) -> Any:
    """A moment as a value."""
    return Value(timestamp_value=timestamp(moment))


def reference(name: str) -> Any:
    """The name of a document as a value, for cursors."""
    return Value(reference_value=name)


def decode(wire: Any) -> Any:
    """The JSON value of a value. Times are texts as the models write them.

    Raises KeyError for a kind that this store does not write, and that JSON does not have.
    """
    return _DECODERS[wire.WhichOneof("kind")](wire)


def _decode_map(wire: Any) -> dict[str, Any]:
    return {key: decode(item) for key, item in wire.map_value.fields.items()}


def _decode_array(wire: Any) -> list[Any]:
    return [decode(item) for item in wire.array_value.values]


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "string_value": lambda wire: wire.string_value,
    "integer_value": lambda wire: wire.integer_value,
    "double_value": lambda wire: wire.double_value,
    "boolean_value": lambda wire: wire.boolean_value,
    "null_value": lambda _: None,
    "timestamp_value": lambda wire: format_timestamp(time_of(moment_in(wire.timestamp_value))),
    "map_value": _decode_map,
    "array_value": _decode_array,
}


def moment_value(wire: Any) -> Moment | None:
    """The moment of a value, None if it is not a time."""
    return moment_in(wire.timestamp_value) if wire.WhichOneof("kind") == "timestamp_value" else None


def texts(wire: Any) -> Sequence[str]:
    """The texts in an array."""
    return [item.string_value for item in wire.array_value.values if item.WhichOneof("kind") == "string_value"]
