"""The plugin that core finds by the distribution's entry point."""

from __future__ import annotations

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_sqlite.config import SqliteOptions, capabilities_with


class SqlitePlugin:
    """The plugin of `sqlite://` URLs."""

    scheme = "sqlite"
    api_version = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = SqliteOptions
    cost_meter = "session_continuity_sqlite.cost_meter:cost_meter"
    damager = "session_continuity_sqlite.damager:damage"

    def capabilities(self, options: SqliteOptions) -> Capabilities:
        return capabilities_with(search=options.search)

    def create(self, options: SqliteOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_sqlite.adapter import SqliteStorage

        return SqliteStorage(**dict(options), mode=mode)


plugin = SqlitePlugin()
