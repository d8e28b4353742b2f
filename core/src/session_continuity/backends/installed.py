"""Installed backends and extensions: their entry points, how they are imported, and how to get one that is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from session_continuity.backends.backend_plugin import BackendPlugin
from session_continuity.contract.growth import CONTRACT
from session_continuity.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "BACKENDS",
    "EXTENSIONS",
    "EntryPoints",
    "InstalledEntryPoints",
    "InstalledPlugin",
    "check_backend",
    "describe",
    "explain_unknown_scheme",
    "group_by_name",
    "import_entry_point",
    "install_hint",
    "origin",
]

BACKENDS = "session_continuity.storage"
EXTENSIONS = "session_continuity.extensions"

_EXTRA_OF_SCHEME = {
    "memory": "memory",
    "sqlite": "sqlite",
    "dynamodb": "dynamodb",
    "firestore": "firestore",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+cluster": "redis",
    "redis+sentinel": "redis",
    "postgresql": "postgres",
    "postgres": "postgres",
}
_REQUIRED = ("scheme", "api_version", "modes", "options", "capabilities", "create")
_LONGEST_SHOWN = 32  # characters; a longer "scheme" may be a mangled URL with a password in it

EntryPoints = Callable[[str], "Iterable[EntryPoint]"]
"""Returns the entry points of a group."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """An entry point as the metadata of its distribution states it. Nothing of it is imported."""

    name: str
    target: str
    distribution: str
    version: str


class InstalledEntryPoints:
    """The entry points of all installed distributions. They are searched for once, which takes 0.1 seconds or more."""

    def __call__(self, group: str) -> Iterable[EntryPoint]:
        selected: Iterable[EntryPoint] = self._found.select(group=group)
        return selected

    @cached_property
    def _found(self) -> Any:
        from importlib.metadata import entry_points

        return entry_points()


def describe(entry: EntryPoint) -> InstalledPlugin:
    """What the metadata says of an entry point."""
    distribution = entry.dist
    if distribution is None:
        raise PluginError(f"entry point {entry.name} has no distribution")
    return InstalledPlugin(entry.name, entry.value, distribution.name, distribution.version)


def group_by_name(entries: Iterable[EntryPoint]) -> dict[str, list[EntryPoint]]:
    """The entry points by name. The same distribution found twice on the path counts once."""
    found: dict[str, dict[InstalledPlugin, EntryPoint]] = {}
    for entry in entries:
        found.setdefault(entry.name, {}).setdefault(describe(entry), entry)
    return {name: list(same.values()) for name, same in found.items()}


def origin(entry: EntryPoint) -> str:
    """The distribution of an entry point and its version."""
    plugin = describe(entry)
    return f"{plugin.distribution} {plugin.version}"


def import_entry_point(entry: EntryPoint, what: str, remedy: str) -> object:
    """The object that an entry point names. Raises PluginError, which calls it `what` and ends with the remedy."""
    try:
        return entry.load()
    except Exception as error:
        raise PluginError(
            f"{what} from {origin(entry)} ({entry.value}) cannot be imported: {type(error).__name__}: {error}; {remedy}"
        ) from error


def check_backend(plugin: object, scheme: str, source: str) -> BackendPlugin:
    """The plugin as a backend. Raises PluginError if it is not one for this scheme and this core; `source` says where
    it came from."""
    missing = [part for part in _REQUIRED if not hasattr(plugin, part)]
    if missing or isinstance(plugin, type):
        problem = "it is a class, not an object of it" if isinstance(plugin, type) else f"it lacks {', '.join(missing)}"
        raise PluginError(f"{source} is not a backend: {problem}; see session_continuity.BackendPlugin")
    backend = cast("BackendPlugin", plugin)
    _check_version(backend.api_version, source)
    if backend.scheme != scheme or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise PluginError(
            f"{source} says that its scheme is {backend.scheme!r}; the scheme must be the name of its entry point, in "
            "lower case"
        )
    if not backend.modes or not backend.modes <= {"async", "blocking"}:
        raise PluginError(f"{source} has no valid modes; a backend serves 'async', 'blocking' or both")
    return backend


def _check_version(version: Any, source: str) -> None:
    match version:
        case (int() as major, int() as minor):
            versions = f"contract {major}.{minor}, this core implements {CONTRACT[0]}.{CONTRACT[1]}"
        case _:
            raise PluginError(f"{source} does not state the contract version that it implements, like {CONTRACT}")
    if major != CONTRACT[0]:
        raise PluginError(f"{source} implements {versions}; install versions of the two that agree")
    if minor > CONTRACT[1]:
        raise PluginError(f"{source} implements {versions}; upgrade session-continuity")


def explain_unknown_scheme(scheme: str, known: set[str]) -> str:
    """Why no backend serves this scheme, and how to get or write one. `known` are the schemes that are served."""
    if scheme in _EXTRA_OF_SCHEME:
        return f"no backend for {scheme}:// is installed; {install_hint(scheme)}"
    near = get_close_matches(scheme, sorted({*known, *_EXTRA_OF_SCHEME}), 1)
    hint = f" ({install_hint(near[0])})" if near and near[0] not in known else ""
    suggestion = f"did you mean {near[0]}://{hint}? " if near else ""
    listed = ", ".join(f"{name}://" for name in sorted(known)) or "none"
    shown = f"{scheme}://" if len(scheme) <= _LONGEST_SHOWN else "this scheme"
    return (
        f"no backend for {shown} is installed; {suggestion}Installed: {listed}. "
        "To write a backend, start with: session-continuity new-backend NAME"
    )


def install_hint(scheme: str) -> str:
    """How to install the backend of a scheme."""
    extra = _EXTRA_OF_SCHEME.get(scheme)
    return f"pip install 'session-continuity[{extra}]'" if extra else "install it, or the extra that brings it"
