"""The size of a document as Firestore counts it against its limit of 1 MiB. Pure."""

from __future__ import annotations

from typing import Any, Final

_CERTAINLY_SMALL: Final = 50_000
"""Bytes on the wire below which a document is below any limit, however small its values: none counts as more than 32
bytes, and none takes less than 2 on the wire."""

_FIXED = {
    "null_value": 1,
    "boolean_value": 1,
    "integer_value": 8,
    "double_value": 8,
    "timestamp_value": 8,
}


def document_size(document: Any) -> int:
    """The size in bytes. For a small document, that of its message on the wire."""
    on_wire: int = document.ByteSize()
    if on_wire <= _CERTAINLY_SMALL:
        return on_wire
    name = sum(_text_size(part) for part in document.name.split("/")[5:]) + 16
    return name + _map_size(document.fields)


def _map_size(fields: Any) -> int:
    return sum(_text_size(name) + _value_size(value) for name, value in fields.items()) + 32


def _value_size(value: Any) -> int:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return _text_size(value.string_value)
    if kind == "map_value":
        return _map_size(value.map_value.fields)
    if kind == "array_value":
        return sum(map(_value_size, value.array_value.values))
    return _FIXED.get(kind, 8)


def _text_size(text: str) -> int:
    return len(text.encode()) + 1
