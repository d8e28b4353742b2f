"""What a backend distribution offers to core: one small object, in a module that imports no driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from session_continuity.adapter import StorageAdapter
from session_continuity.capabilities import Capabilities
from session_continuity.config import BackendOptions
from session_continuity.runtime import Mode

__all__ = ["CONTRACT", "BackendPlugin", "Cost", "Probe"]

CONTRACT: Final = (1, 0)
"""The version of the contract that this core speaks: (major, minor). A minor adds, a major breaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What work at a store has cost.

    `requests` are round trips to its server, or transactions of a store that has none. `reads` is what the store looked
    at for them, in a measure of its own (items, rows, steps), `units` what its provider charges; None where it does not
    tell.
    """

    requests: int
    reads: float | None = None
    units: float | None = None


class Probe(Protocol):
    """Measures what an adapter's calls cost, for budgets in tests: production code pays nothing for it."""

    def __call__(self, adapter: StorageAdapter, /) -> AbstractContextManager[Callable[[], Cost]]:
        """Count while the context lasts; what it gives tells the cost since then. The adapter is one of the plugin's
        own, in either mode, set up, and has served a call. Raises ConfigError for another."""
        ...


class BackendPlugin(Protocol):
    """The object an entry point of the group `session_continuity.storage` names; the entry's name is the scheme.

    It may have a further attribute, `probe`: where its `Probe` is, as `module:name`. The module is imported only when
    costs are asked for, by `Registry.probe`; the conformance suite holds a store with a probe to the cost clauses.
    """

    @property
    def scheme(self) -> str:
        """The URL scheme, lower case."""
        ...

    @property
    def api_version(self) -> tuple[int, int]:
        """The contract version that the plugin was written for."""
        ...

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes that `create` serves. A plugin with one mode only is bridged by core."""
        ...

    @property
    def options(self) -> type[BackendOptions]:
        """The model that validates a URL's options."""
        ...

    def capabilities(self, options: Any) -> Capabilities:
        """What a store opened with these options can do; no I/O."""
        ...

    def create(self, options: Any, mode: Mode) -> StorageAdapter:
        """The adapter, not yet set up; imports the driver, does no I/O."""
        ...
