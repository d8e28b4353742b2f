"""sqlite3 by hand, in WAL mode: one statement for each operation, and each message as one JSON text beside its id."""

from __future__ import annotations

import sqlite3
from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import JsonLibrary, new_message, new_session
from benchmarks.subjects.subject import USER, Subject

SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id TEXT, created_at TEXT, body TEXT) WITHOUT ROWID;
CREATE INDEX by_user ON sessions (user_id, created_at);
CREATE TABLE messages (
    session TEXT, place INTEGER, id TEXT, body TEXT, PRIMARY KEY (session, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX by_id ON messages (session, id);
"""


class SqliteLine(Subject):
    """Returns dictionaries. It has no order across writers, no idempotence, no totals, no limit and no expiry."""

    def __init__(self, connection: sqlite3.Connection, library: JsonLibrary) -> None:
        self.name = f"sqlite3-{library.name}"
        self._connection = connection
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        self._dumps, self._loads = library.dumps, library.loads
        self._middle: dict[str, dict[str, Any]] = {}
        self._place = 0

    def fill(self, session: str, count: int) -> None:
        created = new_session(session)
        row = (session, USER, created["created_at"], self._dumps(created))
        self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
        stored = [new_message(session, item) for item in islice(messages(), count)]
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", map(self._row, stored))
        self._connection.execute("COMMIT")
        if stored:
            self._middle[session] = stored[count // 2]

    def append(self, session: str, item: Item) -> object:
        message = new_message(session, item)
        self._connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", self._row(message))
        return message

    def last_20(self, session: str) -> object:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY place DESC LIMIT 20"
        return [self._loads(body) for (body,) in self._connection.execute(query, (session,))]

    def context(self, session: str) -> object:
        ((body,),) = self._connection.execute("SELECT body FROM sessions WHERE id = ?", (session,))
        return self._loads(body), self.last_20(session)

    def all(self, session: str) -> object:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY place"
        return [self._loads(body) for (body,) in self._connection.execute(query, (session,))]

    def update(self, session: str, text: str) -> object:
        message = {**self._middle[session], "content": text}
        statement = "UPDATE messages SET body = ? WHERE session = ? AND id = ?"
        return self._connection.execute(statement, (self._dumps(message), session, message["id"]))

    def delete(self, session: str) -> object:
        self._connection.execute("BEGIN")
        self._connection.execute("DELETE FROM messages WHERE session = ?", (session,))
        self._connection.execute("DELETE FROM sessions WHERE id = ?", (session,))
        return self._connection.execute("COMMIT")

    def list_100(self) -> object:
        query = "SELECT body FROM sessions WHERE user_id = ? ORDER BY created_at DESC LIMIT 100"
        return [self._loads(body) for (body,) in self._connection.execute(query, (USER,))]

    def _row(self, message: dict[str, Any]) -> tuple[str, int, str, str | bytes]:
        self._place += 1
        return message["session_id"], self._place, message["id"], self._dumps(message)
