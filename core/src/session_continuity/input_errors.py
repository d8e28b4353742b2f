"""pydantic's validation errors in this project's words. Pure.

A message says what a value must be. It never repeats the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError as PydanticError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from session_continuity.json_problems import NotJSONError, json_problem

__all__ = ["Problem", "choice_hint", "explain", "frozen_error", "in_own_words", "model_in"]

Path = tuple[int | str, ...]

_NUMBER, _STRING, _OBJECT = "must be a number", "must be a string", "must be a dict"
_TIME = "must be a time with a time zone, such as 2030-01-31T12:00:00Z"
_JSON = "must be JSON: a string, number, boolean or None, or a list or dict of these with strings as keys"
_MESSAGES = {
    "missing": "is required",
    "none_required": "must be None",
    "string_type": _STRING,
    "string_sub_type": _STRING,
    "string_unicode": "has text that UTF-8 cannot encode",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "bytes_type": "must be bytes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "iterable_type": "must be a list",
    "dict_type": _OBJECT,
    "mapping_type": _OBJECT,
    "model_type": "must be a {class_name} or a dict of its fields",
    "model_attributes_type": _OBJECT,
    "is_instance_of": "must be a {class}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "invalid_key": "a key must be a string",
    "recursion_loop": "is nested too deeply, or contains itself",
    "json_type": _JSON,
    "json_invalid": _JSON,
    "invalid-json-value": _JSON,
    "timezone_aware": _TIME,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
}
"""What a value must be, by the type of pydantic's error."""

_PYDANTICS_OWN = frozenset(get_args(core_schema.ErrorType)) - {"value_error", "assertion_error"}

_SYNONYMS = {
    "ai": ("assistant", "agent"),
    "bot": ("assistant", "agent"),
    "llm": ("assistant", "agent"),
    "model": ("assistant", "agent"),
    "agent": ("assistant",),
    "assistant": ("agent",),
    "human": ("user",),
    "customer": ("user",),
    "developer": ("system",),
    "function": ("tool",),
    "open": ("active",),
    "closed": ("completed",),
    "ended": ("completed",),
    "done": ("completed",),
}
"""Words that other libraries use for a choice, and the choices here that may be meant."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the steps from the input to the wrong value, and what that value must be."""

    path: Path
    message: str
    detail: ErrorDetails

    @property
    def may_quote(self) -> bool:
        """Whether the message is a validator's own, which may quote the value."""
        return self.detail["type"] not in _MESSAGES and self.detail["type"] not in _PYDANTICS_OWN


def explain(error: PydanticError, value: object, model: type[BaseModel]) -> list[Problem]:
    """The problems of a `value` that `model` did not accept, one for each wrong part of it."""
    found: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(_path(value, detail), []).append(detail)
    # A union reports every member. The member that got furthest into the value is the one that was meant.
    whole = [path for path in found if not any(other != path and other[: len(path)] == path for other in found)]
    return [_problem(found[path], path, value, model) for path in whole]


_JSON_ERRORS = frozenset(("json_type", "invalid-json-value", "invalid_key", "string_unicode", "finite_number"))
"""pydantic's errors of values that may be JSON but for a part of them, and of keys."""


def _problem(details: list[ErrorDetails], path: Path, value: object, model: type[BaseModel]) -> Problem:
    """One message for all errors at one place, or at the part of the value there that is not JSON."""
    is_of_json = any(map(_is_of_json, details))
    inner = json_problem(_at(value, path)) if is_of_json or len(details) > 1 else None
    if inner is not None and (inner[0] or is_of_json):
        return Problem((*path, *inner[0]), inner[1], details[0])
    return Problem(path, _message(details, path, model), details[0])


def _is_of_json(detail: ErrorDetails) -> bool:
    return detail["type"] in _JSON_ERRORS or isinstance(detail.get("ctx", {}).get("error"), NotJSONError)


def _at(value: object, path: Path) -> object:
    """What a path leads to; None where it leads nowhere."""
    for step in path:
        found = _inside(value, step)
        if found is None:
            return None
        (value,) = found
    return value


def in_own_words(error: PydanticError, value: object, model: type[BaseModel]) -> PydanticError:
    """The same error with the messages of `explain`."""
    lines = [
        _line(problem.detail["type"], problem.path, problem.message, problem.detail["input"])
        for problem in explain(error, value, model)
    ]
    return PydanticError.from_exception_data(error.title, lines, hide_input=True)


def frozen_error(model: type[BaseModel], name: str, value: object) -> PydanticError:
    """The error of an assignment to a field of a frozen model."""
    message = f"a {model.__name__} cannot be changed; model_copy(update={{…}}) makes a changed copy"
    return PydanticError.from_exception_data(
        model.__name__, [_line("frozen_instance", (name,), message, value)], hide_input=True
    )


def _line(kind: str, path: Path, message: str, value: object) -> InitErrorDetails:
    error = PydanticCustomError(kind, message)  # pyright: ignore[reportArgumentType]  # not literals, and no templates
    return InitErrorDetails(type=error, loc=path, input=value)


def choice_hint(value: object, choices: Sequence[str]) -> str | None:
    """What a wrong choice is called here, for a word that other libraries use; None for any other value."""
    if not isinstance(value, str):
        return None
    word = str.lower(value)
    if word in choices:
        return f"must be in lower case: {word!r}"
    meant = next((choice for choice in _SYNONYMS.get(word, ()) if choice in choices), None)
    return None if meant is None else f"{word!r} is called {meant!r} here"


def model_in(annotation: object) -> type[BaseModel] | None:
    """The first model in a type such as `list[Model] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part))), None)


def _path(value: object, detail: ErrorDetails) -> Path:
    """The steps of `loc` that exist in the value. The others are pydantic's names for the members of unions."""
    path: list[int | str] = []
    for step in detail["loc"]:
        if (inner := _inside(value, step)) is not None:
            path.append(step)
            (value,) = inner
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else tuple(path)


def _inside(value: object, step: int | str) -> tuple[object] | None:
    """What a step leads to, in a tuple because it may be None; None where it leads nowhere."""
    if isinstance(value, BaseModel):
        value = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    try:
        return (cast("Any", value)[step],) if isinstance(value, (Mapping, list, tuple)) else None
    except (LookupError, TypeError):
        return None


def _message(details: list[ErrorDetails], path: Path, model: type[BaseModel]) -> str:
    """One message for all errors at one place."""
    checks = [detail for detail in details if not _is_type_error(detail)]
    first, *others = dict.fromkeys(_sentence(detail, path, model) for detail in checks or details)
    return " or ".join([first, *(other.removeprefix("must be ") for other in others)])


def _is_type_error(detail: ErrorDetails) -> bool:
    return detail["type"].endswith("_type")


def _sentence(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    kind = "invalid_key" if detail["loc"][-1:] == ("[key]",) else detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_field(str(path[-1]), _model_at(model, path[:-1]))
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        hint = choice_hint(detail["input"], choices)
        return hint or _MESSAGES[kind].format(**context)
    if kind == "model_type" and (short_form := getattr(_model_at(model, path), "short_form", "")):
        return f"must be a {context['class_name']}, a dict of its fields, or {short_form}"
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**context)
    if kind in _PYDANTICS_OWN:
        return f"is not valid ({kind.replace('_', ' ')})"
    return detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _unknown_field(name: str, model: type[BaseModel] | None) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    near = get_close_matches(name, known, 1)
    if near:
        return f"unknown field; did you mean {near[0]}?"
    return f"unknown field; the fields are {', '.join(known)}" if known else "unknown field"


def _model_at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    for step in path:
        if model is not None and isinstance(step, str) and step in model.model_fields:
            model = model_in(model.model_fields[step].annotation)
    return model
