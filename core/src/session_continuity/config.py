"""Config strings: `scheme://[user[:password]@][host[:port]][/path][?option=value&…]` → `BackendURL` → options.

Nothing here opens anything. Secrets stay out of sight by default: a `BackendURL` shows only option values that the
plugin's model declares and does not call secret; errors name places and options, never values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self, TypeVar, get_args
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr
from pydantic import ValidationError as PydanticError

from session_continuity.errors import ConfigError

__all__ = ["URL_VARIABLE", "BackendOptions", "BackendURL", "parse_options", "parse_url"]

O = TypeVar("O", bound="BackendOptions")

URL_VARIABLE = "SESSION_CONTINUITY_URL"

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})")
_BEFORE_COLON = re.compile(r"(\[[^\]]*\]|(?:\$\{[^}]*\}|[^:\[\]])*)(?::(.*))?", re.DOTALL)
_EXPECTED = "write it as scheme://[user[:password]@][host[:port]][/path][?option=value], for example sqlite:///chat.db"


@dataclass(frozen=True, slots=True)
class BackendURL:
    """A parsed config string; every part decoded and expanded.

    `host` is as written, without port; `path` has its leading slash; `query` maps an option to its value, which is a
    list where the option was repeated. Text and repr are safe to log.
    """

    scheme: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    host: str = field(default="", repr=False)
    port: int | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)
    query: Mapping[str, str | list[str]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://…"

    def redacted(self, options: type[BackendOptions]) -> str:
        """The URL for people: password and undeclared or secret values as `***`."""
        user = "" if self.user is None else ("***@" if self.password is None else "***:***@")
        port = "" if self.port is None else f":{self.port}"
        shown = "&".join(f"{name}={self._shown(name, value, options)}" for name, value in self.query.items())
        return f"{self.scheme}://{user}{self.host}{port}{self.path}{'?' + shown if shown else ''}"

    @staticmethod
    def _shown(name: str, value: str | list[str], options: type[BackendOptions]) -> str:
        declared = options.model_fields.get(name)
        return str(value) if declared is not None and not _is_secret(declared.annotation) else "***"


def _is_secret(annotation: object) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(_is_secret(part) for part in get_args(annotation))


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
        parts = cls.fields_from_url(url)
        for name in url.query:
            if name not in cls.model_fields:
                raise ConfigError(_unknown_option(name, url.scheme, sorted(cls.model_fields)))
            if name in parts:
                raise ConfigError(f"{url.scheme}: option {name} is stated twice, in the address and in the query")
        return parse_options(cls, {**parts, **url.query}, scheme=url.scheme)


def parse_options(model: type[O], values: Mapping[str, Any], *, scheme: str) -> O:
    """The options with these values. Raises ConfigError that names each wrong option and never its value."""
    try:
        return model.model_validate(dict(values))
    except PydanticError as error:
        problems = "; ".join(f"option {_place(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False))
    raise ConfigError(f"{scheme}: {problems}")


def parse_url(text: str | None = None, *, environ: Mapping[str, str] = os.environ) -> BackendURL:
    """Parse a config string, or the one in `SESSION_CONTINUITY_URL` where none is given.

    `${NAME}` and `${NAME:-default}` are expanded in values after the text was split, so that what a variable holds
    needs no escaping; `$$` is a dollar sign. Raises ConfigError that says where the text is wrong without echoing it.
    """
    if text is None:
        text = environ.get(URL_VARIABLE)
        if not text:
            raise ConfigError(f"no storage URL: pass one, or set {URL_VARIABLE}, for example to sqlite:///chat.db")
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ConfigError(f"this is not a storage URL; {_EXPECTED}")
    _refuse_characters(text)
    address, _, query = match["rest"].partition("?")
    authority, slash, path = address.partition("/")
    user, password, host, port = _split_authority(authority, environ)
    scheme = match["scheme"].lower()
    return BackendURL(
        scheme, user, password, host, port, _decoded(slash + path, environ), _split_query(query, scheme, environ)
    )


def _refuse_characters(text: str) -> None:
    for position, character in enumerate(text):
        if character.isspace() or not character.isprintable():
            raise ConfigError(f"the storage URL has white space or a control character at position {position}")
        if character == "#":
            raise ConfigError(f"the storage URL has a '#' at position {position}; write it as %23")


def _split_authority(
    authority: str, environ: Mapping[str, str]
) -> tuple[str | None, str | None, str, int | None]:
    before, at, after = authority.rpartition("@")
    credentials, address = _BEFORE_COLON.fullmatch(before), _BEFORE_COLON.fullmatch(after)
    if credentials is None or address is None:
        raise ConfigError(f"the address in the storage URL is malformed; {_EXPECTED}")
    user, password, host, port = (
        None if part is None else _decoded(part, environ) for part in (*credentials.groups(), *address.groups())
    )
    return user if at else None, password, host or "", _port(port or "")


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigError("the port in the storage URL must be a number from 1 to 65535")
    return int(text)


def _split_query(query: str, scheme: str, environ: Mapping[str, str]) -> dict[str, str | list[str]]:
    options: dict[str, str | list[str]] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise ConfigError(f"the options of a {scheme}:// URL are written ?option=value&option=value") from None
    for name, raw in pairs:
        value = _expanded(raw, environ)
        known = options.get(name)
        if known is None:
            options[name] = value
        else:
            options[name] = [*known, value] if isinstance(known, list) else [known, value]
    return options


def _decoded(text: str, environ: Mapping[str, str]) -> str:
    try:
        return _expanded(unquote(text, errors="strict"), environ)
    except UnicodeDecodeError:
        raise ConfigError("the storage URL has a %-escape that is not UTF-8") from None


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "$"
        found = environ.get(name, default)
        if found is None:
            raise ConfigError(f"the storage URL needs the environment variable {name}, which is not set")
        return found

    return _VARIABLE.sub(value, text) if "$" in text else text


def _unknown_option(name: str, scheme: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    shown = name if re.fullmatch(r"[A-Za-z_]\w{0,40}", name) else "…"
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{scheme}: unknown option {shown}{meant} Known options: {', '.join(known)}"


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "combination"

