"""What a backend distribution offers to core: one small object, in a module that imports no driver."""

from __future__ import annotations

from typing import Any, Final, Protocol

from session_continuity.adapter import StorageAdapter
from session_continuity.capabilities import Capabilities
from session_continuity.config import BackendOptions
from session_continuity.runtime import Mode

__all__ = ["CONTRACT", "BackendPlugin"]

CONTRACT: Final = (1, 0)
"""The version of the contract that this core speaks: (major, minor). A minor adds, a major breaks."""


class BackendPlugin(Protocol):
    """The object an entry point of the group `session_continuity.storage` names; the entry's name is the scheme."""

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
