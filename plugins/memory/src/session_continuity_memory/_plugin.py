"""What core finds through the entry point."""

from __future__ import annotations

from session_continuity import CONTRACT, Capabilities, Mode, StorageAdapter
from session_continuity_memory.config import CAPABILITIES, MemoryOptions


class MemoryPlugin:
    scheme = "memory"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = MemoryOptions

    def capabilities(self, options: MemoryOptions) -> Capabilities:
        del options
        return CAPABILITIES

    def create(self, options: MemoryOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_memory.adapter import MemoryStorage

        return MemoryStorage(name=options.name, namespace=options.namespace, mode=mode)


plugin = MemoryPlugin()
