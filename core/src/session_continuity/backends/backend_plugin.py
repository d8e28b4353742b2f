"""`BackendPlugin`: the object through which core finds a backend. Its module imports no driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from session_continuity.backends.options import BackendOptions
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.capabilities import Capabilities
from session_continuity.runtime.modes import Mode

__all__ = ["BackendPlugin", "Cost", "CostMeter", "Damager"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of calls of a store.

    `requests` are round trips to its server, or transactions of a store without a server. `reads` are what the store
    looked at, in its own measure (items, rows, steps). `units` are what its provider charges. None: not known.
    """

    requests: int
    reads: float | None = None
    units: float | None = None


class CostMeter(Protocol):
    """Measures what an adapter's calls cost, for tests. It costs nothing in production."""

    def __call__(self, adapter: StorageAdapter, /) -> AbstractContextManager[Callable[[], Cost]]:
        """A context manager that counts. Its value is a function that returns the cost since the context was entered.

        The adapter is one of the plugin's own, in either mode, set up, and has served a call. Raises ConfigError for
        another one.
        """
        ...


class Damager(Protocol):
    """Damages what is stored of a session, or of one of its messages, so that it cannot be read any more. For tests."""

    def __call__(self, adapter: StorageAdapter, session_id: str, message_id: str | None, /) -> None:
        """Do it through this adapter of the plugin's own, in either mode. It may block."""
        ...


class BackendPlugin(Protocol):
    """The object an entry point of the group `session_continuity.storage` names; the entry's name is the scheme.

    It may have two further attributes: `cost_meter` and `damager` say where its `CostMeter` and its `Damager` are, as
    `module:name`. `Registry` imports that module when it is asked for. With them, the conformance suite checks more
    clauses: the costs, and what is damaged.
    """

    @property
    def scheme(self) -> str:
        """The URL scheme, lower case."""
        ...

    @property
    def api_version(self) -> tuple[int, int]:
        """The version of the contract that the plugin was written for."""
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
