"""Config strings: `scheme://[user[:password]@][host[:port]][/path][?option=value&…]` → `BackendURL` → options.

Nothing here opens anything. Secrets stay out of sight by default: a `BackendURL` shows only option values that the
plugin's model declares and does not call secret; errors name places and options, never values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self, TypeVar, cast, get_args, get_origin
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, ValidationError as PydanticError
from pydantic_core import ErrorDetails

from session_continuity.errors import ConfigError, SessionContinuityError

__all__ = ["URL_VARIABLE", "BackendOptions", "BackendURL", "parse_options", "parse_url"]

R = TypeVar("R")
Options = TypeVar("Options", bound="BackendOptions")

URL_VARIABLE = "SESSION_CONTINUITY_URL"

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")
_REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^${}]*))?\})")
_MARK = re.compile("\0([0-9]+)\0")
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CREDENTIALS = re.compile(r"(?<=//)[^/]*@")
_EXPECTED = "write it as scheme://[user[:password]@][host[:port]][/path][?option=value], for example sqlite:///chat.db"
_TELLING = 4  # characters; whatever is shorter than this is no secret, and is found in any sentence


@dataclass(frozen=True, slots=True)
class BackendURL:
    """A parsed config string; every part decoded and expanded.

    `host` is without port, and an IPv6 address without its brackets; `path` has its leading slash; `query` maps an
    option to its value, which is a list where the option was repeated. Text and repr are safe to log.
    """

    scheme: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    host: str = field(default="", repr=False)
    port: int | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)
    query: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"], repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://…"

    def redacted(self, options: type[BackendOptions]) -> str:
        """The URL for people, credentials and secret options as `***`; only its scheme, where an option is unknown and
        so may be the tail of a mangled password."""
        if not self.query.keys() <= options.model_fields.keys():
            return str(self)
        user = "" if self.user is None else ("***@" if self.password is None else "***:***@")
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        shown = "&".join(_shown(name, value, options) for name, value in self.query.items())
        return f"{self.scheme}://{user}{host}{port}{self.path}{'?' + shown if shown else ''}"


def _shown(name: str, value: str | list[str], options: type[BackendOptions]) -> str:
    if _mentions(options.model_fields[name].annotation, (SecretStr, SecretBytes)):
        return f"{name}=***"
    return "&".join(f"{name}={_CREDENTIALS.sub('***@', text)}" for text in _listed(value))


def _mentions(annotation: object, types: tuple[object, ...]) -> bool:
    return (
        annotation in types
        or get_origin(annotation) in types
        or any(_mentions(part, types) for part in get_args(annotation))
    )


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


class BackendOptions(BaseModel):
    """The options of a backend; a plugin subclasses it. Unknown ones are refused, strings are converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    namespace: str = Field(default="", max_length=128, description="A prefix that isolates tenants and tests.")

    @classmethod
    def fields_from_url(cls, url: BackendURL) -> dict[str, Any]:
        """What user, password, host, port and path mean as option fields. Raises ConfigError for a part with no
        meaning; this default gives none to any."""
        for part in ("user", "password", "host", "port", "path"):
            if getattr(url, part):
                raise ConfigError(f"a {url.scheme}:// URL takes no {part}; write {url.scheme}://?option=value")
        return {}

    @classmethod
    def from_url(cls, url: BackendURL) -> Self:
        """The options that a URL states. Raises ConfigError for one that is unknown, repeated or wrong."""
        address = {"user": url.user, "password": url.password, "path": url.path, **url.query}
        parts = _checked(url.scheme, address, lambda: cls.fields_from_url(url))
        return parse_options(cls, {**parts, **cls._stated(url, parts)}, scheme=url.scheme)

    @classmethod
    def _stated(cls, url: BackendURL, parts: Mapping[str, Any]) -> dict[str, str | list[str]]:
        stated: dict[str, str | list[str]] = {}
        for place, (name, value) in enumerate(url.query.items(), 1):
            if name not in cls.model_fields:
                raise ConfigError(_unknown_option(place, name, url.scheme, sorted(cls.model_fields)))
            if name in parts:
                raise ConfigError(f"{url.scheme}: option {name} is stated twice, in the address and in the query")
            if _mentions(cls.model_fields[name].annotation, (list, tuple, set, frozenset)):
                stated[name] = _listed(value)
            elif isinstance(value, list):
                raise ConfigError(f"{url.scheme}: option {name} is stated {len(value)} times; state it once")
            else:
                stated[name] = value
        return stated


def parse_options(model: type[Options], values: Mapping[str, Any], *, scheme: str) -> Options:
    """The options with these values. Raises ConfigError that names each wrong option and never its value."""
    return _checked(scheme, values, lambda: model.model_validate(dict(values)))


def _checked(scheme: str, values: Mapping[str, Any], check: Callable[[], R]) -> R:
    """What `check` returns. The error in place of its own is raised outside of the handler, so that it is not chained
    to one that holds the values."""
    try:
        return check()
    except SessionContinuityError:
        raise
    except PydanticError as error:
        problems = "; ".join(
            f"option {_place(found['loc'])}: {_said(found, values)}"
            for found in error.errors(include_url=False, include_context=False, include_input=False)
        )
    except Exception as error:
        problems = f"the plugin's own check of the options failed with {type(error).__name__} {_origin(error)}"
    raise ConfigError(f"{scheme}: {problems}")


def _said(found: ErrorDetails, values: Mapping[str, Any]) -> str:
    """The message; one that lists the choices is the model's own words, which a value may resemble."""
    message = found["msg"].removeprefix("Value error, ")
    return message if found["type"] == "literal_error" else _unspoken(message, values)


def _unspoken(message: str, values: Mapping[str, Any]) -> str:
    """The message without the values that a validator of the plugin's wrote into it."""
    held = {text for value in values.values() for text in _texts(value) if len(text) >= _TELLING}
    if not held:
        return message
    return re.sub("|".join(map(re.escape, sorted(held, key=len, reverse=True))), "***", message, flags=re.IGNORECASE)


def _texts(value: Any) -> list[str]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for item in cast("Iterable[Any]", value) for text in _texts(item)]
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return [text, repr(text)[1:-1]]


def _origin(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else f"at {os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"


def parse_url(text: str | None = None, *, environ: Mapping[str, str] = os.environ) -> BackendURL:
    """Parse a config string, or the one in `SESSION_CONTINUITY_URL` where none is given.

    Every part is percent-decoded; in the query, `+` is a space. `${NAME}` stands for an environment variable, whose
    text is taken as it is and needs no escaping; `${NAME:-default}` has a default for one that is unset or empty;
    `$$` is a dollar sign. Raises ConfigError that says where the text is wrong without echoing it.
    """
    if text is None:
        text = environ.get(URL_VARIABLE)
        if not text:
            raise ConfigError(f"no storage URL: pass one, or set {URL_VARIABLE}, for example to sqlite:///chat.db")
    if not isinstance(text, str):
        raise ConfigError(f"a storage URL is a text, not {type(text).__name__}; {_EXPECTED}")
    _refuse_characters(text)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ConfigError(f"this is not a storage URL; {_EXPECTED}")
    reader = _Reader(environ)
    address, _, query = reader.set_aside(match["rest"]).partition("?")
    authority, slash, path = address.partition("/")
    if authority and "@" in path:
        raise ConfigError(
            "the storage URL has an '@' in its path; if credentials hold the '/', write it as %2F, or take them from "
            "${VARIABLES}; otherwise write the '@' as %40"
        )
    user, password, host, port = _split_authority(authority, reader)
    return BackendURL(
        match["scheme"].lower(), user, password, host, port, reader.value(slash + path), _split_query(query, reader)
    )


class _Reader:
    """Makes values of the raw parts of a URL. `${NAME}` references are set aside before the text is split, so that
    neither a variable nor a default can move a boundary."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._references: list[re.Match[str]] = []

    def set_aside(self, text: str) -> str:
        marked = _REFERENCE.sub(self._mark, text)
        if "$" in marked:
            raise ConfigError("the storage URL has a '$' that begins no ${VARIABLE}; write a dollar sign as $$")
        return marked

    def value(self, raw: str) -> str:
        pieces = _MARK.split(raw)
        return "".join(
            self._referred(self._references[int(piece)]) if place % 2 else _decoded(piece)
            for place, piece in enumerate(pieces)
        )

    def _mark(self, match: re.Match[str]) -> str:
        self._references.append(match)
        return f"\0{len(self._references) - 1}\0"

    def _referred(self, match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "$"
        found = self._environ.get(name)
        if default is not None:
            return found or _decoded(default)
        if found is None:
            raise ConfigError(f"the storage URL needs the environment variable {name}, which is not set")
        return found


def _refuse_characters(text: str) -> None:
    for position, character in enumerate(text):
        if character.isspace() or not character.isprintable():
            raise ConfigError(f"the storage URL has white space or a control character at position {position}")
        if character == "#":
            raise ConfigError(f"the storage URL has a '#' at position {position}; write it as %23")


def _split_authority(authority: str, reader: _Reader) -> tuple[str | None, str | None, str, int | None]:
    credentials, at, address = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"the address in the storage URL is malformed; {_EXPECTED}")
    host = match["host"] if match["ipv6"] is None else match["ipv6"]
    return (
        reader.value(user) if at else None,
        reader.value(password) if colon else None,
        reader.value(host),
        _port(reader.value(match["port"] or "")),
    )


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ConfigError(
            "the port in the storage URL must be a number from 1 to 65535; an IPv6 address is written [::1]"
        )
    return int(text)


def _split_query(query: str, reader: _Reader) -> dict[str, str | list[str]]:
    options: dict[str, str | list[str]] = {}
    for place, pair in enumerate(query.split("&") if query else (), 1):
        raw_name, equals, raw_value = pair.replace("+", " ").partition("=")
        name, value = _decoded(raw_name), reader.value(raw_value)
        if not equals or not name:
            raise ConfigError(f"option {place} of the storage URL is not written option=value")
        options[name] = [*_listed(options[name]), value] if name in options else value
    return options


def _decoded(text: str) -> str:
    if _LONE_PERCENT.search(text):
        raise ConfigError("the storage URL has a '%' that begins no escape; write a percent sign as %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        pass
    raise ConfigError("the storage URL has a %-escape that is not UTF-8")


def _unknown_option(place: int, name: str, scheme: str, known: list[str]) -> str:
    """A name is shown only when it resembles a known one: what does not may be the tail of a mangled password."""
    near = get_close_matches(name, known, 1)
    which = f"unknown option {name}; did you mean {near[0]}?" if near else f"option {place} is unknown."
    return f"{scheme}: {which} Known options: {', '.join(known)}"


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "combination"
