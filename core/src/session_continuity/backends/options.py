"""Options of a backend: from a URL or from arguments, validated by the backend's own model.

Errors name the option and never its value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, ValidationError as PydanticError
from pydantic.fields import FieldInfo

from session_continuity.backends.url import BackendURL
from session_continuity.errors import ConfigError, SessionContinuityError
from session_continuity.input_errors import Problem, explain

__all__ = ["BackendOptions", "parse_options"]

R = TypeVar("R")
Options = TypeVar("Options", bound="BackendOptions")

_COLLECTIONS = (list, tuple, set, frozenset)
_SECRETS = (SecretStr, SecretBytes)
MAX_NAMESPACE = 128  # characters
_SHORTEST_SECRET = 4  # characters; a shorter value is not masked, because it occurs in any sentence


class BackendOptions(BaseModel):
    """The options of a backend. A plugin subclasses it. Unknown options are refused, strings are converted.

    A name that pydantic has taken, such as `schema`, is the alias of a field: `schema_: str = Field(alias="schema")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    namespace: str = Field(
        default="", max_length=MAX_NAMESPACE, description="A prefix that isolates tenants and tests."
    )

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        """The options in the user, password, host, port and path of a URL.

        By default a URL with one of these parts raises ConfigError. A plugin overrides this.
        """
        for part in ("user", "password", "host", "port", "path"):
            if getattr(url, part):
                raise ConfigError(f"a {url.scheme}:// URL has no {part}; write {url.scheme}://?option=value")
        return {}

    @classmethod
    def from_url(cls, url: BackendURL) -> Self:
        """The options in a URL. Raises ConfigError for an option that is unknown, repeated or wrong."""
        address = {"user": url.user, "password": url.password, "path": url.path, **url.query}
        parts = _check(cls, url.scheme, address, lambda: cls.fields_from_url(url))
        return parse_options(cls, {**parts, **cls._fields_from_query(url, parts)}, scheme=url.scheme)

    @classmethod
    def by_name(cls) -> Mapping[str, FieldInfo]:
        """The fields by the names that their options have in URLs."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    @classmethod
    def is_secret(cls, option: str) -> bool:
        """Whether the option's value must not be shown."""
        return _has_type(cls.by_name()[option].annotation, _SECRETS)

    @classmethod
    def _fields_from_query(cls, url: BackendURL, parts: Mapping[str, Any]) -> dict[str, str | list[str]]:
        fields: dict[str, str | list[str]] = {}
        known = cls.by_name()
        for place, (name, value) in enumerate(url.query.items(), 1):
            if name not in known:
                raise ConfigError(_unknown_option(place, name, url.scheme, sorted(known)))
            if name in parts:
                raise ConfigError(f"{url.scheme}: option {name} is given twice, in the address and in the query")
            if _has_type(known[name].annotation, _COLLECTIONS):
                fields[name] = value if isinstance(value, list) else [value]
            elif isinstance(value, list):
                raise ConfigError(f"{url.scheme}: option {name} is given {len(value)} times; give it once")
            else:
                fields[name] = value
        return fields


def parse_options(model: type[Options], values: Mapping[str, Any], *, scheme: str) -> Options:
    """The options with these values. Raises ConfigError with each wrong option."""
    return _check(model, scheme, values, lambda: model.model_validate(dict(values)))


def _has_type(annotation: object, types: tuple[object, ...]) -> bool:
    return (
        annotation in types
        or get_origin(annotation) in types
        or any(_has_type(part, types) for part in get_args(annotation))
    )


def _check(model: type[BackendOptions], scheme: str, values: Mapping[str, Any], check: Callable[[], R]) -> R:
    """The result of `check`, which is code of a plugin. Its errors become ConfigErrors without the values."""
    try:
        return check()
    except SessionContinuityError:
        raise
    except PydanticError as error:
        problems = "; ".join(_sentence(problem, values) for problem in explain(error, values, model))
    except Exception as error:
        problems = f"the plugin's check of the options failed with {type(error).__name__} {_location(error)}"
    # Raised outside of the handlers, so that the error is not chained to one that holds the values.
    raise ConfigError(f"{scheme}: {problems}")


def _sentence(problem: Problem, values: Mapping[str, Any]) -> str:
    message = _mask(problem.message, values) if problem.may_quote else problem.message
    return f"option {'.'.join(map(str, problem.path))}: {message}" if problem.path else message


def _mask(message: str, values: Mapping[str, Any]) -> str:
    """The message without the values."""
    secrets = {text for value in values.values() for text in _texts(value) if len(text) >= _SHORTEST_SECRET}
    if not secrets:
        return message
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "***", message, flags=re.IGNORECASE)


def _texts(value: Any) -> list[str]:
    """The forms in which a message may quote a value."""
    if isinstance(value, _COLLECTIONS):
        return [text for item in cast("Iterable[Any]", value) for text in _texts(item)]
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return [text, repr(text)[1:-1]]


def _location(error: Exception) -> str:
    """The file and line in which an error was raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else f"at {os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"


def _unknown_option(place: int, name: str, scheme: str, known: list[str]) -> str:
    # A name that resembles no option is not shown: it may be the end of a password with a '?' in it.
    near = get_close_matches(name, known, 1)
    which = f"unknown option {name}; did you mean {near[0]}?" if near else f"option {place} is unknown."
    return f"{scheme}: {which} Known options: {', '.join(known)}"
