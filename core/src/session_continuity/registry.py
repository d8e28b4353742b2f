"""Scheme → plugin, and the extensions beside them.

Backends are found by the name of their entry point and imported one by one, only when asked for; extensions are
loaded together, because they want to listen. Entry points are read once per registry.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from session_continuity import hookspecs
from session_continuity.adapter import StorageAdapter
from session_continuity.config import BackendOptions, BackendURL, parse_url
from session_continuity.errors import PluginError
from session_continuity.plugin import CONTRACT, BackendPlugin, Probe
from session_continuity.runtime import Mode

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pluggy

    from session_continuity.compression import CompressionStrategy
    from session_continuity.events import Event

__all__ = ["BACKENDS", "DISABLE_VARIABLE", "EXTENSIONS", "InstalledPlugin", "Registry", "default_registry"]

BACKENDS = "session_continuity.storage"
EXTENSIONS = "session_continuity.extensions"
DISABLE_VARIABLE = "SESSION_CONTINUITY_DISABLE_PLUGINS"

_FIRST_PARTY = {
    "memory": "memory",
    "sqlite": "sqlite",
    "dynamodb": "dynamodb",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+cluster": "redis",
    "redis+sentinel": "redis",
}
_PARTS = ("scheme", "api_version", "modes", "options", "capabilities", "create")


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point, as its distribution's metadata states it; nothing of it is imported."""

    name: str
    target: str
    distribution: str
    version: str


EntryPoints = Callable[[str], "Iterable[EntryPoint]"]


class _Installed:
    """The entry points of all installed distributions, searched for once: that takes a tenth of a second and more."""

    def __call__(self, group: str) -> Iterable[EntryPoint]:
        selected: Iterable[EntryPoint] = self._found.select(group=group)
        return selected

    @cached_property
    def _found(self) -> Any:
        from importlib.metadata import entry_points

        return entry_points()


class Registry:
    """The backends and extensions that one application sees. Tests make their own, with other `entry_points`."""

    def __init__(self, *, entry_points: EntryPoints | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._entry_points = entry_points or _Installed()
        self._environ = environ
        self._registered: dict[str, BackendPlugin] = {}
        self._loaded: dict[str, BackendPlugin] = {}
        self._extensions: pluggy.PluginManager | None = None
        self._lock = threading.RLock()

    def register_backend(self, plugin: BackendPlugin) -> None:
        """Add a backend of this process, for tests and notebooks. Raises PluginError when the scheme is taken, and for
        an object that is no backend for this core."""
        _check(plugin, getattr(plugin, "scheme", ""), f"{type(plugin).__name__}, registered at run time,")
        with self._lock:
            if plugin.scheme in self._registered or plugin.scheme in self._installed:
                raise PluginError(f"scheme {plugin.scheme}:// is taken; choose another, or use a registry of your own")
            self._registered[plugin.scheme] = plugin

    def installed_backends(self) -> list[InstalledPlugin]:
        """Every installed backend, by scheme, read from metadata only; a conflict shows as two of one name."""
        return [_describe(entry) for name in sorted(self._installed) for entry in self._installed[name]]

    def installed_extensions(self) -> list[InstalledPlugin]:
        """Every installed extension, by name, disabled ones included; read from metadata only."""
        return sorted((_describe(entry) for entry in self._entry_points(EXTENSIONS)), key=lambda plugin: plugin.name)

    def plugin(self, scheme: str) -> BackendPlugin:
        """The backend of a scheme; imports its plugin module and no other.

        Raises PluginError: unknown scheme (with the installed ones, the nearest, and the pip command), two
        distributions claiming it, an import that fails, no backend in what was imported, another contract version.
        """
        with self._lock:
            found = self._registered.get(scheme) or self._loaded.get(scheme)
            if found is None:
                found = self._loaded[scheme] = self._load(scheme)
            return found

    def probe(self, scheme: str) -> Probe | None:
        """What measures the costs of a scheme's stores; None where its plugin has nothing that does. Raises
        PluginError."""
        target = getattr(self.plugin(scheme), "probe", None)
        if target is None:
            return None
        module, _, name = str(target).partition(":")
        try:
            return cast("Probe", getattr(import_module(module), name))
        except (ImportError, AttributeError, ValueError) as error:
            raise PluginError(f"the probe of {scheme}:// ({target}) cannot be imported: {error}") from error

    def create(self, url: str | None, mode: Mode) -> StorageAdapter:
        """The adapter that a URL (or `SESSION_CONTINUITY_URL`) names, in `mode` or, where its plugin has only the
        other, in that one; wrapped by extensions, not yet set up."""
        parsed = parse_url(url, environ=self._environ)
        parsed = self.hooks.sc_configure_url(url=parsed) or parsed
        plugin = self.plugin(parsed.scheme)
        if not self.extensions.is_registered(plugin):  # a backend may implement hooks itself
            _add_extension(self.extensions, plugin, f"{parsed.scheme}://", "upgrade its distribution")
        options = plugin.options.from_url(parsed)
        native = mode if mode in plugin.modes else next(iter(plugin.modes))
        return self.wrap(_created(plugin, options, native))

    def redacted(self, url: str | None) -> str:
        """A URL for people, without its secrets."""
        parsed: BackendURL = parse_url(url, environ=self._environ)
        return parsed.redacted(self.plugin(parsed.scheme).options)

    def wrap(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter inside every wrapper that extensions put around it."""
        for implementation in self.extensions.hook.sc_wrap_adapter.get_hookimpls():
            wrapped = cast("StorageAdapter | None", _call(implementation, adapter=adapter)) or adapter
            if wrapped.mode != adapter.mode:
                raise PluginError(f"extension {implementation.plugin_name} changes the mode of the adapter it wraps")
            adapter = wrapped
        return adapter

    def strategies(self) -> dict[str, CompressionStrategy]:
        """Every compression strategy by name. Raises PluginError when an extension takes a name that is taken."""
        from session_continuity.compression import STRATEGIES

        known = dict(STRATEGIES)
        for implementation in self.extensions.hook.sc_compression_strategies.get_hookimpls():
            added = cast("Mapping[str, CompressionStrategy]", _call(implementation))
            if taken := sorted(added.keys() & known.keys()):
                raise PluginError(f"extension {implementation.plugin_name} offers strategies that exist: {taken}")
            known.update(added)
        return known

    def observers(self) -> Iterable[tuple[str, Callable[[Event], object]]]:
        """Who observes events through a hook, by the extension's name."""
        for implementation in self.extensions.hook.sc_on_event.get_hookimpls():
            yield implementation.plugin_name, partial(_observe, implementation)

    @property
    def hooks(self) -> Any:
        """The hook caller over all extensions."""
        return self.extensions.hook

    @property
    def extensions(self) -> pluggy.PluginManager:
        """The extensions, loaded at first use. Raises PluginError that names the one that is broken."""
        with self._lock:
            if self._extensions is None:
                self._extensions = self._load_extensions()
            return self._extensions

    def register_extension(self, extension: object, name: str | None = None) -> None:
        """Add an extension of this process. Raises PluginError for one that is registered already, and for hooks that
        do not fit their specification or have none; then nothing of it is added."""
        _add_extension(self.extensions, extension, name or repr(extension), "mend it")

    def _load_extensions(self) -> pluggy.PluginManager:
        import pluggy

        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        disabled = {name.strip() for name in self._environ.get(DISABLE_VARIABLE, "").split(",")}
        for entry in self._entry_points(EXTENSIONS):
            if entry.name not in disabled:
                cure = f"mend it, or set {DISABLE_VARIABLE}={entry.name}"
                _add_extension(manager, _loaded(entry, f"extension {entry.name}", cure), entry.name, cure)
        return manager

    @cached_property
    def _installed(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for entry in self._entry_points(BACKENDS):
            same = found.setdefault(entry.name, [])
            if _describe(entry) not in map(_describe, same):
                same.append(entry)
        return found

    def _load(self, scheme: str) -> BackendPlugin:
        entries = self._installed.get(scheme)
        if not entries:
            raise PluginError(_unknown_scheme(scheme, {*self._installed, *self._registered}))
        if len(entries) > 1:
            claims = " and ".join(_origin(entry) for entry in entries)
            raise PluginError(f"scheme {scheme}:// is claimed by {claims}; uninstall all but one of them")
        plugin = _loaded(entries[0], f"the backend for {scheme}://", "reinstall or upgrade that distribution")
        _check(plugin, scheme, f"{_origin(entries[0])} ({entries[0].value})")
        return cast("BackendPlugin", plugin)


def _loaded(entry: EntryPoint, what: str, cure: str) -> object:
    try:
        return entry.load()
    except Exception as error:
        raise PluginError(
            f"{what} from {_origin(entry)} ({entry.value}) cannot be imported: {type(error).__name__}: {error}; {cure}"
        ) from error


def _created(plugin: BackendPlugin, options: BackendOptions, mode: Mode) -> StorageAdapter:
    try:
        return plugin.create(options, mode)
    except ImportError as error:
        missing = f"the module {error.name}" if error.name else "a module"
        raise PluginError(
            f"{plugin.scheme}:// in {mode} mode needs {missing}, which cannot be imported; "
            f"{_install_hint(plugin.scheme)}"
        ) from error


def _add_extension(manager: pluggy.PluginManager, extension: object, name: str, cure: str) -> None:
    import pluggy

    if manager.has_plugin(name) or manager.is_registered(extension):
        raise PluginError(f"extension {name} is registered already")
    try:
        manager.register(extension, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        if manager.is_registered(extension):
            manager.unregister(extension)
        raise PluginError(f"extension {name} does not fit: {error}; {cure}") from error


def _call(implementation: pluggy.HookImpl, **arguments: object) -> object:
    """Call one implementation, which may take fewer arguments than there are."""
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _observe(implementation: pluggy.HookImpl, event: Event) -> object:
    return _call(implementation, event=event)


def _check(plugin: object, scheme: str, origin: str) -> None:
    """Raises PluginError unless this is a backend for that scheme that was written for this core."""
    missing = [part for part in _PARTS if not hasattr(plugin, part)]
    if missing or isinstance(plugin, type):
        lack = "is a class, not an object of it" if isinstance(plugin, type) else f"has no {', '.join(missing)}"
        raise PluginError(f"{origin} is no backend: it {lack}; see session_continuity.BackendPlugin")
    backend = cast("BackendPlugin", plugin)
    _check_version(backend.api_version, origin)
    if backend.scheme != scheme or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise PluginError(
            f"{origin} says that its scheme is {backend.scheme!r}; a scheme is as its entry point names "
            "it, in lower case"
        )
    if not backend.modes or not backend.modes <= {"async", "blocking"}:
        raise PluginError(f"{origin} names no mode; a backend serves 'async', 'blocking' or both")


def _check_version(version: Any, origin: str) -> None:
    match version:
        case (int() as major, int() as minor):
            spoken = f"contract {major}.{minor}, this core speaks {CONTRACT[0]}.{CONTRACT[1]}"
        case _:
            raise PluginError(f"{origin} does not state the contract version it is written for, such as {CONTRACT}")
    if major != CONTRACT[0]:
        raise PluginError(f"{origin} is written for {spoken}; install versions of the two that agree")
    if minor > CONTRACT[1]:
        raise PluginError(f"{origin} is written for {spoken}; upgrade session-continuity")


def _unknown_scheme(scheme: str, known: set[str]) -> str:
    if scheme in _FIRST_PARTY:
        return f"no backend for {scheme}:// is installed; {_install_hint(scheme)}"
    near = get_close_matches(scheme, sorted({*known, *_FIRST_PARTY}), 1)
    hint = f" ({_install_hint(near[0])})" if near and near[0] not in known else ""
    meant = f"did you mean {near[0]}://{hint}? " if near else ""
    listed = ", ".join(f"{name}://" for name in sorted(known)) or "none"
    shown = f"{scheme}://" if len(scheme) <= 32 else "this scheme"
    return f"no backend for {shown} is installed; {meant}Installed: {listed}"


def _install_hint(scheme: str) -> str:
    extra = _FIRST_PARTY.get(scheme)
    return f"pip install 'session-continuity[{extra}]'" if extra else "install it, or the extra that brings it"


def _describe(entry: EntryPoint) -> InstalledPlugin:
    distribution = entry.dist
    if distribution is None:
        raise PluginError(f"entry point {entry.name} belongs to no distribution")
    return InstalledPlugin(entry.name, entry.value, distribution.name, distribution.version)


def _origin(entry: EntryPoint) -> str:
    plugin = _describe(entry)
    return f"{plugin.distribution} {plugin.version}"


_default: Registry | None = None
_default_lock = threading.Lock()


def default_registry() -> Registry:
    """The registry of this process: what is installed, and what was registered on it."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Registry()
        return _default
