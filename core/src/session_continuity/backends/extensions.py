"""`Extensions`: the pluggy plugins that change or observe what this package does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

from session_continuity.backends import hooks
from session_continuity.backends.installed import EXTENSIONS, EntryPoints, import_entry_point
from session_continuity.backends.observed import CallObserver
from session_continuity.backends.portable import guarded
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pluggy

    from session_continuity.compression.strategies import CompressionStrategy
    from session_continuity.events import Event

__all__ = ["DISABLE_VARIABLE", "Extensions"]

DISABLE_VARIABLE = "SESSION_CONTINUITY_DISABLE_PLUGINS"

_log = logging.getLogger("session_continuity")


class Extensions:
    """The extensions of one registry. All are imported at the first use, because they observe events.

    `environ` may name extensions to leave out, in SESSION_CONTINUITY_DISABLE_PLUGINS.
    """

    def __init__(self, entry_points: EntryPoints, environ: Mapping[str, str]) -> None:
        self._entry_points = entry_points
        self._environ = environ
        self._manager: pluggy.PluginManager | None = None
        self._lock = threading.RLock()

    @property
    def manager(self) -> pluggy.PluginManager:
        """The plugin manager with every extension. Raises PluginError, which names the extension that is broken."""
        with self._lock:
            if self._manager is None:
                self._manager = self._load()
            return self._manager

    def add(self, extension: object, name: str, remedy: str) -> None:
        """Add an extension. Raises PluginError for one that is added already and for hooks that are wrong."""
        _add(self.manager, extension, name, remedy)

    def wrap(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter inside the wrappers of all extensions."""
        for implementation in self.manager.hook.sc_wrap_adapter.get_hookimpls():
            wrapped = cast("StorageAdapter | None", _call(implementation, adapter=adapter)) or adapter
            if wrapped.mode != adapter.mode:
                raise PluginError(f"extension {implementation.plugin_name} changes the mode of the adapter it wraps")
            adapter = guarded(wrapped, adapter)
        return adapter

    def strategies(self) -> Iterable[tuple[str, Mapping[str, CompressionStrategy]]]:
        """The compression strategies that extensions offer: the extension's name with its strategies by name."""
        for implementation in self.manager.hook.sc_compression_strategies.get_hookimpls():
            yield implementation.plugin_name, cast("Mapping[str, CompressionStrategy]", _call(implementation))

    def observers(self) -> Iterable[tuple[str, Callable[[Event], object]]]:
        """The extensions that observe events: the extension's name with a function that takes an event."""
        for implementation in self.manager.hook.sc_on_event.get_hookimpls():
            yield implementation.plugin_name, partial(_observe, implementation)

    def call_observer(self) -> CallObserver | None:
        """A function that passes calls of a store to the extensions that observe them; None if there is none."""
        return self._observe_call if self.manager.hook.sc_on_storage_call.get_hookimpls() else None

    def _observe_call(self, *, backend: str, operation: str, seconds: float, outcome: str) -> None:
        try:
            self.manager.hook.sc_on_storage_call(backend=backend, operation=operation, seconds=seconds, outcome=outcome)
        except Exception as error:
            _log.error("an observer of storage calls failed", exc_info=error)

    def _load(self) -> pluggy.PluginManager:
        import pluggy

        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        disabled = {name.strip() for name in self._environ.get(DISABLE_VARIABLE, "").split(",")}
        for entry in self._entry_points(EXTENSIONS):
            if entry.name not in disabled:
                try:
                    _load(entry, manager)
                except PluginError as error:
                    error.extension = entry.name
                    raise
        return manager


def _load(entry: EntryPoint, manager: pluggy.PluginManager) -> None:
    remedy = f"fix it, or set {DISABLE_VARIABLE}={entry.name}"
    extension = import_entry_point(entry, f"extension {entry.name}", remedy)
    _add(manager, extension, entry.name, remedy)


def _add(manager: pluggy.PluginManager, extension: object, name: str, remedy: str) -> None:
    import pluggy

    if manager.has_plugin(name) or manager.is_registered(extension):
        raise PluginError(f"extension {name} is registered already")
    try:
        manager.register(extension, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        if manager.is_registered(extension):
            manager.unregister(extension)
        raise PluginError(f"extension {name} has wrong hooks: {error}; {remedy}") from error


def _call(implementation: pluggy.HookImpl, **arguments: object) -> object:
    """Call one implementation of a hook, which may take fewer arguments than the hook has.

    pluggy's own call runs all implementations. Here each one is called by itself: wrappers nest, and errors name the
    extension.
    """
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _observe(implementation: pluggy.HookImpl, event: Event) -> object:
    return _call(implementation, event=event)
