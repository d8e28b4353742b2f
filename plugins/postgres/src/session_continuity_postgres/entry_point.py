"""The plugins that core finds by the distribution's entry points."""

from __future__ import annotations

from dataclasses import dataclass

from session_continuity import Capabilities, Mode, StorageAdapter
from session_continuity_postgres.config import CAPABILITIES, PostgresOptions


@dataclass(frozen=True, slots=True)
class PostgresPlugin:
    """The plugin of one URL scheme. libpq takes two."""

    scheme: str
    api_version: tuple[int, int] = (1, 0)
    modes: frozenset[Mode] = frozenset({"async", "blocking"})
    options: type[PostgresOptions] = PostgresOptions
    cost_meter: str = "session_continuity_postgres.cost_meter:cost_meter"
    damager: str = "session_continuity_postgres.damager:damage"

    def capabilities(self, options: PostgresOptions) -> Capabilities:
        del options
        return CAPABILITIES

    def create(self, options: PostgresOptions, mode: Mode) -> StorageAdapter:
        from session_continuity_postgres.adapter import PostgresStorage
        from session_continuity_postgres.connections import OwnedConnections

        return PostgresStorage(
            OwnedConnections(options, mode),
            namespace=options.namespace,
            schema=options.schema,
            create=options.create,
        )


postgresql = PostgresPlugin("postgresql")
postgres = PostgresPlugin("postgres")
