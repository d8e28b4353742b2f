"""The plugin that core finds by the distribution's entry point."""

from __future__ import annotations

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_memory.config import CAPABILITIES, MemoryOptions


class MemoryPlugin:
    """The plugin of `memory://` URLs."""

    scheme = "memory"
    api_version = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = MemoryOptions

    def capabilities(self, options: MemoryOptions) -> Capabilities:
        del options
        return CAPABILITIES

    def create(self, options: MemoryOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_memory.adapter import MemoryStorage

        return MemoryStorage(name=options.name, namespace=options.namespace, mode=mode)


plugin = MemoryPlugin()
