"""What in a value is not JSON: where it is, what it is, and how to turn it into JSON. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

__all__ = ["NotJSONError", "json_problem", "replace_invalid_text"]

Path = tuple[int | str, ...]

_DEEPEST = 200
_REMEDIES: tuple[tuple[type, str], ...] = (
    (Enum, "pass its .value"),
    (date, "pass value.isoformat()"),
    (time, "pass value.isoformat()"),
    (timedelta, "pass value.total_seconds()"),
    (UUID, "pass str(value)"),
    (PurePath, "pass str(value)"),
    (Decimal, "pass str(value), or float(value) where rounding does no harm"),
    (tuple, "pass list(value)"),
    (set, "pass sorted(value)"),
    (frozenset, "pass sorted(value)"),
    (bytes, "pass base64.b64encode(value).decode(), or value.decode() if it is text"),
    (bytearray, "pass base64.b64encode(value).decode(), or value.decode() if it is text"),
)
"""What to do about values of a type. The first type that fits counts."""


_BY_ATTRIBUTE = (
    ("model_dump", 'pass value.model_dump(mode="json")'),
    ("tolist", "pass value.tolist()"),
    ("__dataclass_fields__", "pass dataclasses.asdict(value)"),
)
"""What to do about pydantic's models, NumPy's arrays and dataclasses, which are known by an attribute."""


class NotJSONError(ValueError):
    """A check of a value that is JSON but for a part of it. `json_problem` finds the part."""


def json_problem(value: object) -> tuple[Path, str] | None:
    """The path to the first part of a value that is not JSON, and a sentence on it; None if all of it is JSON."""
    return _problem(value, ())


def replace_invalid_text(value: Any, depth: int = 0) -> Any:
    """The value with each lone surrogate in its texts and keys replaced by U+FFFD. Dicts and lists are copied, down to
    the depth that JSON may have; other values stay."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, str):
        return value if _is_encodable(value) else _LONE.sub("\ufffd", _joined(value))
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)
        return {replace_invalid_text(key): replace_invalid_text(item, depth + 1) for key, item in fields.items()}
    if isinstance(value, list):
        return [replace_invalid_text(item, depth + 1) for item in cast("list[object]", value)]
    return value


def _joined(text: str) -> str:
    """The text with the two halves of a character joined, where both are there."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


_LONE = re.compile("[\ud800-\udfff]")


def _problem(value: object, path: Path) -> tuple[Path, str] | None:
    if value is None or (isinstance(value, (bool, int)) and not isinstance(value, Enum)) or len(path) > _DEEPEST:
        return None
    if isinstance(value, str) and not isinstance(value, Enum):
        return None if _is_encodable(value) else (path, _SURROGATE)
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, _NOT_FINITE)
    if isinstance(value, list):
        found = (_problem(item, (*path, place)) for place, item in enumerate(cast("list[object]", value)))
        return next((problem for problem in found if problem), None)
    if isinstance(value, dict):
        found = (_entry_problem(key, item, path) for key, item in cast("dict[object, object]", value).items())
        return next((problem for problem in found if problem), None)
    return path, f"must be JSON, not {_name(value)}; {_remedy(value)}"


_NOT_FINITE = "must be a finite number; JSON has no NaN and no infinity, pass None"
_SURROGATE = (
    "has a lone surrogate, which UTF-8 cannot encode; remove or replace it, for example with replace_invalid_text"
)


def _entry_problem(key: object, item: object, path: Path) -> tuple[Path, str] | None:
    if not isinstance(key, str):
        return path, f"a key must be a string, not {_name(key)}; pass str(key)"
    if not _is_encodable(key):
        return path, f"a key {_SURROGATE}"
    return _problem(item, (*path, key))


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeio" else f"a {name}"


def _remedy(value: object) -> str:
    for kind, remedy in _REMEDIES:
        if isinstance(value, kind):
            return remedy
    if isinstance(value, Mapping):
        return "pass dict(value)"
    for attribute, remedy in _BY_ATTRIBUTE:
        if hasattr(value, attribute):
            return remedy
    return "convert it first"
