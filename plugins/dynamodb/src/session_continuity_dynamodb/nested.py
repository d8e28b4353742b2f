"""Models inside attributes: JSON text or native maps, under the camelCase names of the TypeScript kit. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from pydantic import BaseModel

from session_continuity_dynamodb.values import Value, decode, encode, fits, text

_REST = "~"


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True)
class _Layout:
    """The fields of a model: their names in an attribute, and what they hold when nobody has set them."""

    names: dict[str, str]
    fields: dict[str, str]
    defaults: dict[str, Any]


@cache
def _layout(model: type[BaseModel]) -> _Layout:
    names = {name: camel(name) for name in model.model_fields}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    return _Layout(names, {attribute: name for name, attribute in names.items()}, defaults)


def to_json(model: BaseModel) -> dict[str, Any]:
    """A model as JSON under camelCase names, without fields at an empty default; the caller's own keys as they are,
    apart under `~` where one of them looks like a field."""
    layout = _layout(type(model))
    typed = {
        layout.names[name]: value
        for name, value in model.model_dump(mode="json", include=set(layout.names)).items()
        if value or value != layout.defaults[name] or value == ""
    }
    extra = model.__pydantic_extra__ or {}
    is_plain = _REST not in extra and layout.fields.keys().isdisjoint(extra)
    return {**typed, **extra} if is_plain else {**typed, _REST: extra}


def from_json(model: type[BaseModel], data: Any) -> dict[str, Any]:
    """What `to_json` made, or what the TypeScript kit wrote, as fields of the model; a closed model's unknown keys
    are left out."""
    if not isinstance(data, dict):
        return {}
    held = dict(cast("dict[str, Any]", data))
    own: dict[str, Any] = held.pop(_REST, {}) if isinstance(held.get(_REST), dict) else {}
    fields = _layout(model).fields
    typed = {fields[key]: value for key, value in held.items() if key in fields and value is not None}
    if model.model_config.get("extra") == "allow":
        own = {**{key: value for key, value in held.items() if key not in fields}, **own}
        return {**own, **typed}
    return typed


def native(model: BaseModel) -> Value:
    """A model as a native map; what no native attribute can hold is JSON text under `~`."""
    data = to_json(model)
    plain = {key: value for key, value in data.items() if key != _REST and key and fits(value)}
    rest = {key: value for key, value in data.items() if key not in plain}
    return {"M": {**encode(plain)["M"], **({_REST: text(json_text(rest))} if rest else {})}}


def from_native(value: Value | None) -> dict[str, Any] | None:
    if value is None or "NULL" in value:
        return None
    data = json.loads(value["S"]) if "S" in value else decode(value)
    rest = data.pop(_REST, None)
    return {**data, **json.loads(rest)} if isinstance(rest, str) else data


def loaded(value: Value | None) -> Any:
    """JSON text, or the native value that some writers put in its place."""
    if value is None:
        return None
    return json.loads(value["S"]) if "S" in value else decode(value)
