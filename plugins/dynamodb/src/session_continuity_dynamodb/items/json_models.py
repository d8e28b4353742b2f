"""Models inside attributes, as JSON text or native maps, under the camelCase names of the TypeScript kit. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from session_continuity_dynamodb.items.values import Value, decode, encode, fits

M = TypeVar("M", bound=BaseModel)

_NEEDED_BY_KIT = frozenset({"reserve_tokens"})
"""Fields that are written also when they are 0: the TypeScript kit subtracts the one that is missing, and gets NaN."""

OWN_KEYS = "~"
"""The key that holds a caller's own keys where one of them looks like a field, and what a native map cannot hold."""

_parse_strictly = TypeAdapter[Any](Any).validator.validate_json


def parse_json(text: str | bytes) -> Any:
    """The value of JSON text. Halves of a character, which JavaScript cuts out of an emoji, become U+FFFD.

    pydantic's parser, unlike orjson, keeps integers of more than 64 bits. It takes half the time of `json.loads`.
    """
    try:
        return _parse_strictly(text)
    except ValidationError:
        return parse_halves(text)


def parse_halves(text: str | bytes) -> Any:
    """The value of JSON text that may contain halves of characters. Raises ValueError for what is not JSON."""
    value = json.loads(text)
    whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(whole)


def json_text(value: Any) -> str:
    """A JSON value as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class _Layout:
    """The fields of a model: their names in an attribute and back, and their defaults."""

    names: dict[str, str]
    fields: dict[str, str]
    defaults: dict[str, Any]
    is_open: bool


@cache
def _layout(model: type[BaseModel]) -> _Layout:
    names = {name: to_camel(name) for name in model.model_fields}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    fields = {attribute: name for name, attribute in names.items()}
    return _Layout(names, fields, defaults, model.model_config.get("extra") == "allow")


def model_json(model: BaseModel) -> dict[str, Any]:
    """A model as a JSON object under camelCase names, without fields that have an empty default.

    A caller's own keys keep their names. They lie apart, under `~`, where one of them looks like a field.
    """
    layout = _layout(type(model))
    typed = {
        layout.names[name]: value
        for name, value in model.model_dump(mode="json", include=set(layout.names)).items()
        if value or value != layout.defaults[name] or value == "" or name in _NEEDED_BY_KIT
    }
    extra = model.__pydantic_extra__ or {}
    is_plain = OWN_KEYS not in extra and layout.fields.keys().isdisjoint(extra)
    return {**typed, **extra} if is_plain else {**typed, OWN_KEYS: extra}


def fields_of(model: type[BaseModel], data: Any) -> dict[str, Any]:
    """The fields of a model in a JSON object that `model_json` or the TypeScript kit made.

    Fields that are null are left out, as are unknown keys if the model does not take any.
    """
    if not isinstance(data, dict):
        return {}
    layout = _layout(model)
    typed: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", data).items():
        name = layout.fields.get(key)
        if name is None:
            own[key] = value
        elif value is not None:
            typed[name] = value
    apart = own.get(OWN_KEYS)
    if isinstance(apart, dict):
        del own[OWN_KEYS]
        own |= cast("dict[str, Any]", apart)
    return {**own, **typed} if layout.is_open else typed


def build(adapter: TypeAdapter[M], fields: dict[str, Any]) -> M:
    """The model of these fields, which come from an item.

    They are validated as JSON text, which sounds like a detour and takes half the time: for JSON text core's models
    skip checks in Python code that only input of callers needs.
    """
    try:
        text = orjson.dumps(fields)
    except TypeError:  # an integer of more than 64 bits
        return adapter.validate_python(fields)
    model: M = adapter.validator.validate_json(text)
    return model


def model_map(model: BaseModel) -> Value:
    """A model as a native map. Values that no native attribute can hold are JSON text under `~`."""
    data = model_json(model)
    plain = {key: value for key, value in data.items() if key != OWN_KEYS and key and fits(value)}
    rest = {key: value for key, value in data.items() if key not in plain}
    return {"M": {**encode(plain)["M"], **({OWN_KEYS: {"S": json_text(rest)}} if rest else {})}}


def map_json(value: Value | None) -> dict[str, Any] | None:
    """The JSON object that `model_map` made a native map of. Some writers leave JSON text in its place."""
    data = read_json(value)
    if data is None:
        return None
    rest = data.pop(OWN_KEYS, None)
    return {**data, **parse_json(rest)} if isinstance(rest, str) else data


def read_json(value: Value | None) -> Any:
    """The JSON value in an attribute: from JSON text, or from the native value that some writers leave instead."""
    if value is None:
        return None
    return parse_json(value["S"]) if "S" in value else decode(value)
