"""Models and lists from what callers pass.

Wrong input becomes one ValidationError that names the field and never repeats its value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails

from session_continuity.errors import ValidationError
from session_continuity.model_base import Model

__all__ = ["as_list", "validate"]

M = TypeVar("M", bound=Model)

_PROBLEMS_SHOWN = 3
_STEPS_SHOWN = 8
_PATH_SHOWN = 80


def validate(model: type[M], value: M | Mapping[str, Any] | str | int, *, at: str = "") -> M:
    """A model from its fields, from its short form, or from another instance.

    `at` is where the value lies in the caller's arguments. Raises ValidationError that names the first wrong fields.
    """
    try:
        return model.model_validate(value)
    except PydanticError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
    # Raised outside of the handler, so that the error is not chained to one that holds the values.
    problems = [f"{_path(detail, at) or model.__name__}: {detail['msg']}" for detail in details]
    more = f"; and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
    raise ValidationError("; ".join(problems[:_PROBLEMS_SHOWN]) + more)


def _path(detail: ErrorDetails, at: str) -> str:
    """The place of a problem, cut to a length that can be shown."""
    path = ".".join([*filter(None, [at]), *map(str, detail["loc"][:_STEPS_SHOWN])])
    return path[:_PATH_SHOWN].encode(errors="backslashreplace").decode()


def as_list(values: Iterable[Any], name: str) -> list[Any]:
    """The values as a list. Raises ValidationError for anything that is not iterable, and for a single string or
    mapping, which would be split into characters or keys."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        kind = type(cast("object", values)).__name__
        raise ValidationError(f"{name} must be a list, not {kind}")
    return list(values)
