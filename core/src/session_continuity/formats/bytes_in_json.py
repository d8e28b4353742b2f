"""Bytes in values that are otherwise JSON: each is stored as `{"$bytes": base64}`."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

__all__ = ["BYTES", "pack", "unpack"]

BYTES = "$bytes"


def pack(value: object) -> Any:
    """The value with each `bytes` in it as `{"$bytes": base64}`."""
    if isinstance(value, (bytes, bytearray)):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: pack(item) for key, item in cast("dict[object, object]", value).items()}
    return [pack(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def unpack(value: object) -> Any:
    """The value with each `{"$bytes": base64}` in it as bytes."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if fields.keys() == {BYTES} and isinstance(fields[BYTES], str):
            return from_base64(fields[BYTES])
        return {key: unpack(item) for key, item in fields.items()}
    return [unpack(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def from_base64(text: str) -> bytes:
    """The bytes of a base64 text of either alphabet; none if it is not base64."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
