"""What core finds through the entry point."""

from __future__ import annotations

from session_continuity import CONTRACT, Capabilities, Mode, StorageAdapter
from session_continuity_sqlite.config import CAPABILITIES, SqliteOptions


class SqlitePlugin:
    scheme = "sqlite"
    api_version = CONTRACT
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options = SqliteOptions
    probe = "session_continuity_sqlite.probe:probe"

    def capabilities(self, options: SqliteOptions) -> Capabilities:
        del options
        return CAPABILITIES

    def create(self, options: SqliteOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_sqlite.adapter import SqliteStorage

        return SqliteStorage(**dict(options), mode=mode)


plugin = SqlitePlugin()
