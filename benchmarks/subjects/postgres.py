"""psycopg by hand, blocking and asyncio: each message as one JSON text in a row, an append as one CTE."""

from __future__ import annotations

from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import JsonLibrary, new_message, new_session
from benchmarks.subjects.subject import USER, Subject

TABLES = """
    CREATE TABLE IF NOT EXISTS by_hand_sessions (
        id text PRIMARY KEY, user_id text, body text NOT NULL,
        active_at timestamptz DEFAULT now(), count bigint DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS by_hand_users ON by_hand_sessions (user_id, id);
    CREATE TABLE IF NOT EXISTS by_hand_messages (
        session text REFERENCES by_hand_sessions (id) ON DELETE CASCADE, place bigint, body text NOT NULL,
        PRIMARY KEY (session, place)
    );
"""

_CREATE = "INSERT INTO by_hand_sessions (id, user_id, body) VALUES (%s, %s, %s)"
_FILL = (
    "WITH s AS (UPDATE by_hand_sessions SET count = count + %s WHERE id = %s RETURNING id) "
    "INSERT INTO by_hand_messages SELECT s.id, b.n, b.body FROM s, unnest(%s::text[]) WITH ORDINALITY AS b (body, n)"
)
_APPEND = (
    "WITH s AS (UPDATE by_hand_sessions SET count = count + 1, active_at = now() WHERE id = %s RETURNING id, count) "
    "INSERT INTO by_hand_messages SELECT id, count, %s FROM s"
)
_ALL = "SELECT body FROM by_hand_messages WHERE session = %s ORDER BY place"
_LAST = "SELECT body FROM by_hand_messages WHERE session = %s ORDER BY place DESC LIMIT 20"
_CONTEXT = f"SELECT (SELECT body FROM by_hand_sessions WHERE id = %s), ARRAY({_LAST})"
_UPDATE = "UPDATE by_hand_messages SET body = %s WHERE session = %s AND place = 1"
_DELETE = "DELETE FROM by_hand_sessions WHERE id = %s"
_LIST = "SELECT body FROM by_hand_sessions WHERE user_id = %s ORDER BY id DESC LIMIT 100"


class PostgresLine(Subject):
    """Returns dictionaries. It has one order across writers and a count, but no idempotence, no limit, no expiry and no
    ids by which a message is found."""

    client_name = "psycopg"

    def __init__(self, connection: Any, library: JsonLibrary) -> None:
        self.name = f"{self.client_name}-{library.name}"
        self._connection = connection
        self._dumps, self._loads = library.dumps, library.loads

    def fill(self, session: str, count: int) -> Any:
        self._connection.execute(_CREATE, (self._key(session), self._key(USER), self._text(new_session(session))))
        return self._connection.execute(_FILL, self._filling(session, count))

    def append(self, session: str, item: Item) -> Any:
        return self._connection.execute(_APPEND, (self._key(session), self._text(new_message(session, item))))

    def last_20(self, session: str) -> Any:
        return self._load(self._connection.execute(_LAST, (self._key(session),)).fetchall())

    def context(self, session: str) -> Any:
        return self._read(self._connection.execute(_CONTEXT, (self._key(session),) * 2).fetchone())

    def all(self, session: str) -> Any:
        return self._load(self._connection.execute(_ALL, (self._key(session),)).fetchall())

    def update(self, session: str, text: str) -> Any:
        message = new_message(session, {"role": "user", "content": text})
        return self._connection.execute(_UPDATE, (self._text(message), self._key(session)))

    def delete(self, session: str) -> Any:
        return self._connection.execute(_DELETE, (self._key(session),))

    def list_100(self) -> Any:
        return self._load(self._connection.execute(_LIST, (self._key(USER),)).fetchall())

    def _filling(self, session: str, count: int) -> tuple[Any, ...]:
        return count, self._key(session), [self._text(new_message(session, item)) for item in islice(messages(), count)]

    def _load(self, rows: list[Any]) -> list[Any]:
        return [self._loads(body) for (body,) in rows]

    def _read(self, row: Any) -> Any:
        described, bodies = row
        return self._loads(described), [self._loads(body) for body in bodies]

    def _text(self, value: Any) -> str:
        written = self._dumps(value)
        return written if isinstance(written, str) else written.decode()

    def _key(self, of: str) -> str:
        return f"{self.name}:{of}"


class AsyncPostgresLine(PostgresLine):
    """The same with psycopg's AsyncConnection."""

    client_name = "psycopg.async"
    awaited = True

    async def fill(self, session: str, count: int) -> Any:
        about = (self._key(session), self._key(USER), self._text(new_session(session)))
        await self._connection.execute(_CREATE, about)
        await self._connection.execute(_FILL, self._filling(session, count))

    async def last_20(self, session: str) -> Any:
        return self._load(await (await self._connection.execute(_LAST, (self._key(session),))).fetchall())

    async def context(self, session: str) -> Any:
        return self._read(await (await self._connection.execute(_CONTEXT, (self._key(session),) * 2)).fetchone())

    async def all(self, session: str) -> Any:
        return self._load(await (await self._connection.execute(_ALL, (self._key(session),))).fetchall())

    async def list_100(self) -> Any:
        return self._load(await (await self._connection.execute(_LIST, (self._key(USER),))).fetchall())
