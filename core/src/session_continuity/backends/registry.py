"""`Registry`: which backends and extensions an application sees, and adapters by URL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from session_continuity.backends.backend_plugin import BackendPlugin, CostMeter, Damager
from session_continuity.backends.extensions import DISABLE_VARIABLE, Extensions
from session_continuity.backends.installed import (
    BACKENDS,
    EXTENSIONS,
    EntryPoints,
    InstalledEntryPoints,
    InstalledPlugin,
    check_backend,
    describe,
    explain_unknown_scheme,
    group_by_name,
    import_entry_point,
    install_hint,
    origin,
)
from session_continuity.backends.observed import CallObserver
from session_continuity.backends.options import BackendOptions
from session_continuity.backends.portable import portable
from session_continuity.backends.url import BackendURL, is_free_of_secrets, parse_url
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import PluginError
from session_continuity.runtime.modes import Mode

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from session_continuity.compression.strategies import CompressionStrategy
    from session_continuity.events import Event

__all__ = ["DISABLE_VARIABLE", "EXTENSIONS", "Registry", "default_registry"]


class Registry:
    """The backends and extensions that one application sees. Tests make their own, with other `entry_points`.

    Backends are found by the name of their entry point. One is imported only when it is asked for.
    """

    def __init__(self, *, entry_points: EntryPoints | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._entry_points = entry_points or InstalledEntryPoints()
        self._environ = environ
        self._extensions = Extensions(self._entry_points, environ)
        self._registered: dict[str, BackendPlugin] = {}
        self._imported: dict[str, BackendPlugin] = {}
        self._lock = threading.RLock()

    # Backends

    def register_backend(self, plugin: BackendPlugin) -> None:
        """Add a backend to this process, for tests and notebooks. Raises PluginError when the scheme is taken, and for
        an object that is not a backend for this core."""
        source = f"{type(plugin).__name__}, registered at run time,"
        plugin = check_backend(plugin, getattr(plugin, "scheme", ""), source)
        with self._lock:
            if plugin.scheme in self._registered or plugin.scheme in self._installed:
                raise PluginError(f"scheme {plugin.scheme}:// is taken; choose another, or use a registry of your own")
            self._registered[plugin.scheme] = plugin

    def installed_backends(self) -> list[InstalledPlugin]:
        """Every installed backend, by scheme, read from metadata only. Two of one name are a conflict."""
        return [describe(entry) for name in sorted(self._installed) for entry in self._installed[name]]

    def plugin(self, scheme: str) -> BackendPlugin:
        """The backend of a scheme. Imports its plugin module and no other.

        Raises PluginError for an unknown scheme, for one that two distributions claim, for an import that fails, for an
        object that is not a backend, and for another version of the contract.
        """
        with self._lock:
            found = self._registered.get(scheme) or self._imported.get(scheme)
            if found is None:
                found = self._imported[scheme] = self._import(scheme)
            return found

    def cost_meter(self, scheme: str) -> CostMeter | None:
        """The function that measures the costs of a scheme's adapters; None if its plugin has none. Raises
        PluginError."""
        return cast("CostMeter | None", self._part(scheme, "cost_meter"))

    def damager(self, scheme: str) -> Damager | None:
        """The function that damages what a scheme's adapters store; None if its plugin has none. Raises PluginError."""
        return cast("Damager | None", self._part(scheme, "damager"))

    def _part(self, scheme: str, attribute: str) -> object:
        """The object that an attribute of a plugin names as `module:name`, None without the attribute."""
        target = getattr(self.plugin(scheme), attribute, None)
        if target is None:
            return None
        module, _, name = str(target).partition(":")
        try:
            return cast("object", getattr(import_module(module), name))
        except (ImportError, AttributeError, ValueError) as error:
            part = attribute.replace("_", " ")
            raise PluginError(f"the {part} of {scheme}:// ({target}) cannot be imported: {error}") from error

    def create(self, url: str | None, mode: Mode) -> StorageAdapter:
        """The adapter that a URL, or `SESSION_CONTINUITY_URL`, names. It is not set up yet.

        It is in `mode`, or in the only mode that its plugin has. It is inside core's portable layer and the wrappers of
        extensions.
        """
        parsed = parse_url(url, environ=self._environ)
        parsed = self.hooks.sc_configure_url(url=parsed) or parsed
        plugin = self.plugin(parsed.scheme)
        if not self._extensions.manager.is_registered(plugin):  # a backend may implement hooks itself
            self._extensions.add(plugin, f"{parsed.scheme}://", "upgrade its distribution")
        options = plugin.options.from_url(parsed)
        native = mode if mode in plugin.modes else next(iter(plugin.modes))
        adapter = _create_adapter(plugin, options, native)
        shown_url = parsed.redacted(plugin.options)
        return self.wrap(portable(adapter, self.call_observer(), contract=plugin.api_version, url=shown_url))

    def redacted(self, url: str | None) -> str:
        """A URL without its secrets, for people. Where they are all taken from variables, it is the URL as written."""
        parsed: BackendURL = parse_url(url, environ=self._environ)
        options = self.plugin(parsed.scheme).options
        shown = parsed.redacted(options)
        return url if url is not None and "***" in shown and is_free_of_secrets(url, options) else shown

    # Extensions

    def register_extension(self, extension: object, name: str | None = None) -> None:
        """Add an extension to this process.

        Raises PluginError for one that is registered already, and for one whose hooks do not match their specification
        or that has none. It is then not added.
        """
        self._extensions.add(extension, name or repr(extension), "fix it")

    def installed_extensions(self) -> list[InstalledPlugin]:
        """Every installed extension, by name, including disabled ones. Read from metadata only."""
        return sorted((describe(entry) for entry in self._entry_points(EXTENSIONS)), key=lambda plugin: plugin.name)

    @property
    def hooks(self) -> Any:
        """The hooks of all extensions, to call. Raises PluginError for an extension that is broken."""
        return self._extensions.manager.hook

    def wrap(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter inside the wrappers of all extensions."""
        return self._extensions.wrap(adapter)

    def strategies(self) -> Iterable[tuple[str, Mapping[str, CompressionStrategy]]]:
        """The compression strategies that extensions offer: the extension's name with its strategies by name."""
        return self._extensions.strategies()

    def observers(self) -> Iterable[tuple[str, Callable[[Event], object]]]:
        """The extensions that observe events: the extension's name with a function that takes an event."""
        return self._extensions.observers()

    def call_observer(self) -> CallObserver | None:
        """A function that passes calls of a store to the extensions that observe them; None if there is none."""
        return self._extensions.call_observer()

    @cached_property
    def _installed(self) -> dict[str, list[EntryPoint]]:
        """The entry points of backends by scheme. Several of one scheme are a conflict."""
        return group_by_name(self._entry_points(BACKENDS))

    def _import(self, scheme: str) -> BackendPlugin:
        entries = self._installed.get(scheme)
        if not entries:
            raise PluginError(explain_unknown_scheme(scheme, {*self._installed, *self._registered}))
        if len(entries) > 1:
            claims = " and ".join(origin(entry) for entry in entries)
            raise PluginError(f"scheme {scheme}:// is claimed by {claims}; uninstall all but one of them")
        [entry] = entries
        plugin = import_entry_point(entry, f"the backend for {scheme}://", "reinstall or upgrade that distribution")
        return check_backend(plugin, scheme, f"{origin(entry)} ({entry.value})")


def _create_adapter(plugin: BackendPlugin, options: BackendOptions, mode: Mode) -> StorageAdapter:
    try:
        return plugin.create(options, mode)
    except ImportError as error:
        missing = f"the module {error.name}" if error.name else "a module"
        raise PluginError(
            f"{plugin.scheme}:// in {mode} mode needs {missing}, which cannot be imported; "
            f"{install_hint(plugin.scheme)}"
        ) from error
    except TypeError as error:
        if "abstract" not in str(error):  # Python's words for a class that lacks methods of its base class
            raise
        raise PluginError(
            f"the adapter of {plugin.scheme}:// does not implement the whole contract: {error}"
        ) from error


_default: Registry | None = None
_default_lock = threading.Lock()


def default_registry() -> Registry:
    """The registry of this process: what is installed, and what was registered with it."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Registry()
        return _default
