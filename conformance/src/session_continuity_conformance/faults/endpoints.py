"""The address of a store's server, found in the store's URL, so that a proxy can be put in front of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, get_args
from urllib.parse import quote, unquote

from session_continuity import BackendOptions, parse_url

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LOOPBACK = r"127\.0\.0\.1|localhost|\[::1\]"
_AUTHORITY = re.compile(
    rf"(?P<before>[^/?$]*//(?:[^/?$]*@)?)(?P<host>{_LOOPBACK})(?::(?P<port>\d+))?(?P<after>[/?].*|)"
)
_ADDRESS = re.compile(rf"(?P<before>(?:http://)?)(?P<host>{_LOOPBACK}):(?P<port>\d+)(?P<after>/?)")

SECONDS = "0.5"
_TIMEOUTS = ("timeout", "read_timeout", "socket_timeout", "request_timeout", "connect_timeout")
_RETRIES = {"retries": "1", "max_retries": "1", "max_attempts": "2"}
PATIENCE = 20.0
LONG_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[T_co]):
    """The address of a store's server.

    `through` returns the same store at another host and port, with timeouts as short as its options allow. Every call
    must end within `patience` seconds.
    """

    host: str
    port: int
    through: Callable[[str, int], T_co]
    patience: float


@dataclass(frozen=True, slots=True)
class Address:
    """An address in a URL, and the text before and after it."""

    host: str
    port: int
    before: str
    after: str

    def at(self, host: str, port: int) -> str:
        """The URL with another address."""
        return f"{self.before}{host}:{port}{self.after}"


def address_in(url: str, options: type[BackendOptions]) -> Address | None:
    """The loopback address in a URL, as its host or as the value of an option; None where there is none."""
    return _authority(url, options) or _option(url)


def _authority(url: str, options: type[BackendOptions]) -> Address | None:
    found = _AUTHORITY.fullmatch(url)
    if found is None:
        return None
    option = options.by_name().get("port")
    port = found["port"] or (option and option.default)
    if not port:
        return None
    return Address(found["host"].strip("[]"), int(port), found["before"], found["after"])


def _option(url: str) -> Address | None:
    address, _, query = url.partition("?")
    options = query.split("&")
    for place, option in enumerate(options):
        name, _, value = option.partition("=")
        found = _ADDRESS.fullmatch(unquote(value))
        if found is not None:
            before = "&".join([*options[:place], f"{name}={found['before']}"])
            after = "".join(f"&{other}" for other in options[place + 1 :])
            return Address(
                found["host"].strip("[]"), int(found["port"]), f"{address}?{before}", f"{found['after']}{after}"
            )
    return None


def lacks_port(url: str) -> bool:
    """Whether a URL names a server on loopback and not its port."""
    found = _AUTHORITY.fullmatch(url)
    return found is not None and not found["port"]


def hurried(url: str, options: type[BackendOptions]) -> tuple[str, float]:
    """The URL with short timeouts and few retries, unless it states them, and the seconds within which a call must then
    end. Options are recognised by their usual names."""
    stated = parse_url(url).query
    added = {name: SECONDS for name in _TIMEOUTS if _takes(options, name, float) and name not in stated}
    patience = PATIENCE if added else LONG_PATIENCE
    added |= {name: value for name, value in _RETRIES.items() if _takes(options, name, int) and name not in stated}
    return _with(url, added), patience


def _takes(options: type[BackendOptions], name: str, kind: type) -> bool:
    field = options.by_name().get(name)
    return field is not None and kind in (field.annotation, *get_args(field.annotation))


def _with(url: str, added: Mapping[str, str]) -> str:
    address, mark, query = url.partition("?")
    stated = [query] if mark and query else []
    return "?".join(filter(None, [address, "&".join([*stated, *(f"{k}={quote(v)}" for k, v in added.items())])]))


def endpoint_of(url: str, options: type[BackendOptions], open_url: Callable[[str], T]) -> Endpoint[T] | None:
    """The address of the server of the store at this URL; None where a proxy cannot be put in front of it."""
    address = address_in(url, options)
    if address is None:
        return None
    quick, patience = hurried(url, options)
    moved = address_in(quick, options)
    assert moved is not None
    return Endpoint(address.host, address.port, lambda host, port: open_url(moved.at(host, port)), patience)
