"""Models as native maps under the camelCase names of the TypeScript kit, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.alias_generators import to_camel

from session_continuity import MessageMetadata, ToolCall, ToolResult
from session_continuity_firestore.wire.values import fits

M = TypeVar("M", bound=BaseModel)

OWN_KEYS: Final = "~"
"""The key that holds, as JSON text, a caller's own keys that look like fields, and what a native map cannot hold."""

_NEEDED_BY_KIT = frozenset({"reserve_tokens"})
"""Fields that are written also when they are 0: the TypeScript kit subtracts the one that is missing, and gets NaN."""

_NESTED: Mapping[type[BaseModel], Mapping[str, type[BaseModel]]] = {
    MessageMetadata: {"tool_calls": ToolCall, "tool_results": ToolResult}
}
"""The fields that are lists of models."""

_read_json = TypeAdapter[Any](Any).validator.validate_json


def parse_json(text: str) -> Any:
    """The value of JSON text. pydantic's parser keeps integers of any size. Raises pydantic's ValidationError."""
    return _read_json(text)


def json_text(value: Any) -> str:
    """A JSON value as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class _Layout:
    """The fields of a model: their names in a map and back, and their defaults."""

    names: dict[str, str]
    fields: dict[str, str]
    defaults: dict[str, Any]
    is_open: bool


@cache
def _layout(model: type[BaseModel]) -> _Layout:
    names = {name: to_camel(name) for name in model.model_fields}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    fields = {key: name for name, key in names.items()}
    return _Layout(names, fields, defaults, model.model_config.get("extra") == "allow")


def model_map(model: BaseModel) -> dict[str, Any]:
    """A model as a map that Firestore holds, without fields that have their default.

    Times stay times. A caller's own keys keep their names, unless they look like a field.
    """
    layout = _layout(type(model))
    own = dict(model.__pydantic_extra__ or {})
    plain = {key: own.pop(key) for key in [*own] if _is_plain(layout, key, own[key])}
    fields: dict[str, Any] = {}
    for name, key in layout.names.items():
        value = getattr(model, name)
        if value != layout.defaults[name] or name in _NEEDED_BY_KIT:
            native = _native(value)
            place, key = (plain, key) if fits(native, 2) else (fields, name)
            place[key] = native
    if own or fields:
        plain[OWN_KEYS] = json_text({"own": own, "fields": fields})
    return plain


def _is_plain(layout: _Layout, key: str, value: Any) -> bool:
    return key != OWN_KEYS and key not in layout.fields and fits({key: value})


def _native(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return model_map(value)
    if isinstance(value, list):
        return [model_map(item) if isinstance(item, BaseModel) else item for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def fields_of(model: type[BaseModel], data: Any) -> dict[str, Any]:
    """The fields of a model in a map that `model_map` or the TypeScript kit made.

    Fields that are null are left out, as are unknown keys if the model does not take any. Raises ValueError for what is
    not a map.
    """
    if not isinstance(data, dict):
        raise ValueError("not a map")
    layout = _layout(model)
    typed: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", data).items():
        name = layout.fields.get(key)
        if name is None:
            own[key] = value
        elif value is not None:
            typed[name] = _read_field(model, name, value)
    rest = own.get(OWN_KEYS)
    if isinstance(rest, str):
        apart = parse_json(rest)
        del own[OWN_KEYS]
        own |= apart["own"]
        typed |= {name: _read_field(model, name, value) for name, value in apart["fields"].items()}
    return {**own, **typed} if layout.is_open else typed


def _read_field(model: type[BaseModel], name: str, value: Any) -> Any:
    nested = _NESTED.get(model, {}).get(name)
    if nested is None or not isinstance(value, list):
        return value
    return [fields_of(nested, item) for item in value]  # pyright: ignore[reportUnknownVariableType]


def list_fields(name: str, exact_name: str, entries: Sequence[Any]) -> dict[str, Any]:
    """A list as two fields: the entries that Firestore can hold, and all as JSON text if that is not all of them.

    The second is None where it is not needed.
    """
    plain = [entry for entry in entries if fits(entry, 2) and not isinstance(entry, list)]
    exact = None if len(plain) == len(entries) else json_text(entries)
    return {name: plain, exact_name: exact}
