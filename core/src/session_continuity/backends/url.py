"""Storage URLs: `scheme://[user[:password]@][host[:port]][/path][?option=value&…]`.

Nothing here opens anything. Secrets are hidden by default: a `BackendURL` shows an option's value only if the plugin's
model has the option and does not call it secret. Errors name places in the URL, never its text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from session_continuity.errors import ConfigError

if TYPE_CHECKING:
    from session_continuity.backends.options import BackendOptions

__all__ = ["URL_VARIABLE", "BackendURL", "parse_url"]

URL_VARIABLE = "SESSION_CONTINUITY_URL"

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")
_REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^${}]*))?\})")
_MARK = re.compile("\0([0-9]+)\0")
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CREDENTIALS = re.compile(r"(?<=//)[^/]*@")
_EXPECTED = "write it as scheme://[user[:password]@][host[:port]][/path][?option=value], for example sqlite:///chat.db"


@dataclass(frozen=True, slots=True)
class BackendURL:
    """A parsed storage URL. Every part is decoded, and variables are replaced.

    `host` has no port, and an IPv6 address no brackets. `path` has its leading slash. `query` maps an option to its
    value, or to a list of values if the option is repeated. `str()` and `repr()` show the scheme only.
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
        """The URL with `***` in place of credentials and secret options. With an unknown option, only the scheme."""
        # An unknown option may be the end of a password with a '?' in it.
        if not self.query.keys() <= options.by_name().keys():
            return str(self)
        user = "" if self.user is None else ("***@" if self.password is None else "***:***@")
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = "&".join(_redact(name, value, options) for name, value in self.query.items())
        return f"{self.scheme}://{user}{host}{port}{self.path}{'?' + query if query else ''}"


def is_free_of_secrets(text: str, options: type[BackendOptions]) -> bool:
    """Whether the text of a URL takes every secret from a variable, so that it can be shown and used as it is.

    A user without a password may be a secret, and so may the default of a variable. False for a text without variables
    and for one with an unknown option.
    """
    names = {match["name"] for match in _REFERENCE.finditer(text)} - {None}
    if not names:
        return False
    bare = parse_url(text, environ=dict.fromkeys(names, ""))
    if not bare.query.keys() <= options.by_name().keys():
        return False
    user = bare.user if bare.password is None else None
    values = [(name, value) for name, each in bare.query.items() for value in _as_list(each)]
    hidden = [user, bare.password, *(value for name, value in values if options.is_secret(name))]
    return not any(hidden) and not any(_CREDENTIALS.search(value) for _, value in values)


def _redact(name: str, value: str | list[str], options: type[BackendOptions]) -> str:
    if options.is_secret(name):
        return f"{name}=***"
    return "&".join(f"{name}={_CREDENTIALS.sub('***@', text)}" for text in _as_list(value))


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def parse_url(text: str | None = None, *, environ: Mapping[str, str] = os.environ) -> BackendURL:
    """The parts of a storage URL. Without `text`, the URL is taken from `SESSION_CONTINUITY_URL`.

    Every part is percent-decoded. In the query, `+` is a space. `${NAME}` is replaced by an environment variable, whose
    value needs no escaping. `${NAME:-default}` has a default for a variable that is unset or empty. `$$` is a dollar
    sign. Raises ConfigError that says what is wrong without showing the text.
    """
    if text is None:
        text = environ.get(URL_VARIABLE)
        if not text:
            raise ConfigError(f"no storage URL: pass one, or set {URL_VARIABLE}, for example to sqlite:///chat.db")
    if not isinstance(text, str):
        raise ConfigError(f"a storage URL must be a string, not {type(text).__name__}; {_EXPECTED}")
    _check_characters(text)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ConfigError(f"this is not a storage URL; {_EXPECTED}")
    variables = _Variables(environ)
    address, _, query = variables.mark(match["rest"]).partition("?")
    authority, slash, path = address.partition("/")
    if authority and "@" in path:
        raise ConfigError(
            "invalid '@' in the path of the storage URL: write it as %40; if it ends the credentials, write the '/' in "
            "them as %2F, or take them from ${VARIABLES}"
        )
    user, password, host, port = _split_authority(authority, variables)
    return BackendURL(
        match["scheme"].lower(), user, password, host, port, variables.decode(slash + path), _options(query, variables)
    )


class _Variables:
    """Replaces `${NAME}` references in the parts of a URL.

    References are replaced by marks before the text is split, and the marks by values afterwards. So neither a variable
    nor a default can move a boundary between parts.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._references: list[re.Match[str]] = []

    def mark(self, text: str) -> str:
        """The text with a mark in place of each reference."""
        marked = _REFERENCE.sub(self._mark, text)
        if "$" in marked:
            raise ConfigError("invalid '$' in the storage URL: write ${NAME} for a variable or $$ for a dollar sign")
        return marked

    def decode(self, part: str) -> str:
        """A part of the marked text, percent-decoded, with the values of its references."""
        pieces = _MARK.split(part)  # every second piece is the number of a reference
        return "".join(
            self._value(self._references[int(piece)]) if place % 2 else _percent_decode(piece)
            for place, piece in enumerate(pieces)
        )

    def _mark(self, match: re.Match[str]) -> str:
        self._references.append(match)
        return f"\0{len(self._references) - 1}\0"

    def _value(self, match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "$"
        value = self._environ.get(name)
        if default is not None:
            return value or _percent_decode(default)
        if value is None:
            raise ConfigError(f"the storage URL needs the environment variable {name}, which is not set")
        return value


def _check_characters(text: str) -> None:
    for position, character in enumerate(text):
        if character.isspace() or not character.isprintable():
            raise ConfigError(f"the storage URL has white space or a control character at position {position}")
        if character == "#":
            raise ConfigError(f"the storage URL has a '#' at position {position}; write it as %23")


def _split_authority(authority: str, variables: _Variables) -> tuple[str | None, str | None, str, int | None]:
    credentials, at, address = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"the address in the storage URL is malformed; {_EXPECTED}")
    host = match["host"] if match["ipv6"] is None else match["ipv6"]
    return (
        variables.decode(user) if at else None,
        variables.decode(password) if colon else None,
        variables.decode(host),
        _port(variables.decode(match["port"] or "")),
    )


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ConfigError(
            "the port in the storage URL must be a number from 1 to 65535; write an IPv6 address in brackets, as in "
            "[::1]"
        )
    return int(text)


def _options(query: str, variables: _Variables) -> dict[str, str | list[str]]:
    options: dict[str, str | list[str]] = {}
    for place, pair in enumerate(query.split("&") if query else (), 1):
        raw_name, equals, raw_value = pair.replace("+", " ").partition("=")
        name, value = _percent_decode(raw_name), variables.decode(raw_value)
        if not equals or not name:
            raise ConfigError(f"option {place} of the storage URL must be written as option=value")
        options[name] = [*_as_list(options[name]), value] if name in options else value
    return options


def _percent_decode(text: str) -> str:
    if _LONE_PERCENT.search(text):
        raise ConfigError("invalid percent-escape in the storage URL; write %25 for a percent sign")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        pass
    # Raised outside of the handler, so that the error is not chained to one that holds the text.
    raise ConfigError("invalid percent-escape in the storage URL: it is not UTF-8")
