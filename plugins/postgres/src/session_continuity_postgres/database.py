"""`Database`: runs the statements of one adapter or view, for its namespace and owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import psycopg

from session_continuity import Clock, UnavailableError, backoff, sleeper
from session_continuity_postgres.codec import key
from session_continuity_postgres.connections import Connection, Connections, Row
from session_continuity_postgres.errors import is_repeatable, is_wrong_server

DEADLINE = 10.0
"""Seconds for which a statement is sent again that the server undid because of others."""

LIVE = (
    "s.namespace = %(namespace)s AND s.id = %(session)s "
    "AND (s.expires_at IS NULL OR s.expires_at > %(now)s::timestamptz)"
)
"""The condition for a session that exists."""


@lru_cache(maxsize=1024)
def _encoded(text: str, schema: str, owner: bool) -> bytes:
    """The text of a statement with its names."""
    text = text.replace("{live}", LIVE + "{own}").replace("{own}", " AND s.user_id = %(owner)s" if owner else "")
    return text.replace("{schema}", schema).encode()


@lru_cache(maxsize=64)
def _call_text(schema: str, function: str, columns: str, count: int) -> bytes:
    return f"SELECT {columns} FROM {schema}.{function}({', '.join(['%s'] * count)})".encode()


@dataclass(frozen=True, slots=True)
class Database:
    """The connections of a store, with the schema of its tables, and the namespace and owner of a view, as keys."""

    connections: Connections
    schema: str
    namespace: str
    owner: str | None
    clock: Callable[[], Clock]

    def view(self, namespace: str | None, owner: str | None, clock: Callable[[], Clock]) -> Database:
        """The same for another namespace or owner. None keeps what it is."""
        return replace(
            self,
            namespace=self.namespace if namespace is None else key(namespace),
            owner=self.owner if owner is None else key(owner),
            clock=clock,
        )

    def now(self) -> str:
        """The time, as a parameter."""
        return self.clock()().isoformat()

    async def fetch(self, text: str, *, prepare: bool | None = None, **values: Any) -> list[Row]:
        """The rows of a read. The text may have {live}, {own} and {schema}, and `values` by their names."""
        statement = _encoded(text, self.schema, self.owner is not None)
        parameters = {"namespace": self.namespace, "owner": self.owner, "now": self.now(), **values}
        return await self._run(lambda connection: connection.fetch(statement, parameters, prepare=prepare))

    async def call(self, function: str, session_id: str, *values: Any, columns: str = "outcome, detail") -> Row:
        """The result of a function on a session, in one transaction. Its first parameters are the same for all."""
        return await self.call_at(function, session_id, self.now(), *values, columns=columns)

    async def call_at(
        self, function: str, session_id: str, moment: str | None, *values: Any, columns: str = "outcome, detail"
    ) -> Row:
        """`call` with another time than the present as the fourth parameter."""
        parameters = (self.namespace, key(session_id), self.owner, moment, *values)
        statement = _call_text(self.schema, function, columns, len(parameters))
        (row,) = await self._run(lambda connection: connection.fetch(statement, parameters))
        return row

    async def _run(self, job: Callable[[Connection], Awaitable[list[Row]]]) -> list[Row]:
        """The rows of a job. What the server undid because of others is sent again."""
        try:
            return await self.connections.run(job)
        except psycopg.Error as error:
            if is_wrong_server(error):
                self.connections.discard_idle()
            if not is_repeatable(error):
                raise
        return await self._repeat(job)

    async def _repeat(self, job: Callable[[Connection], Awaitable[list[Row]]]) -> list[Row]:
        undone: psycopg.Error | None = None
        async for _ in backoff(sleeper(self.connections.mode), deadline=DEADLINE):
            try:
                return await self.connections.run(job)
            except psycopg.Error as error:
                if not is_repeatable(error):
                    raise
                undone = error
        raise UnavailableError("other writers were faster for too long; repeat the call") from undone
