"""The standard library's sqlite3 in WAL, one statement an operation, a message as JSON text beside its id."""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import texts
from benchmarks.subject import USER, Subject

SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id TEXT, created_at TEXT, body TEXT) WITHOUT ROWID;
CREATE INDEX by_user ON sessions (user_id, created_at);
CREATE TABLE messages (
    session TEXT, place INTEGER, id TEXT, body TEXT, PRIMARY KEY (session, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX by_id ON messages (session, id);
"""


class SqliteLine(Subject):
    name = "sqlite3"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        self._middle: dict[str, str] = {}
        self._place = 0

    def fill(self, session: str, messages: int) -> None:
        created_at = datetime.now(UTC).isoformat()
        body = json.dumps({"id": session, "user_id": USER, "created_at": created_at, "title": "Benchmark"})
        self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (session, USER, created_at, body))
        rows = [self._row(session, role, text) for role, text in islice(texts(), messages)]
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")
        if rows:
            self._middle[session] = rows[messages // 2][2]

    def append(self, session: str, role: str, text: str) -> object:
        row = self._row(session, role, text)
        self._connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
        return row

    def last_20(self, session: str) -> object:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY place DESC LIMIT 20"
        return [json.loads(body) for (body,) in self._connection.execute(query, (session,))]

    def context(self, session: str) -> object:
        ((body,),) = self._connection.execute("SELECT body FROM sessions WHERE id = ?", (session,))
        return json.loads(body), self.last_20(session)

    def all(self, session: str) -> object:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY place"
        return [json.loads(body) for (body,) in self._connection.execute(query, (session,))]

    def update(self, session: str, text: str) -> object:
        body = json.dumps({"id": self._middle[session], "session_id": session, "role": "user", "content": text})
        statement = "UPDATE messages SET body = ? WHERE session = ? AND id = ?"
        return self._connection.execute(statement, (body, session, self._middle[session]))

    def delete(self, session: str) -> object:
        self._connection.execute("BEGIN")
        self._connection.execute("DELETE FROM messages WHERE session = ?", (session,))
        self._connection.execute("DELETE FROM sessions WHERE id = ?", (session,))
        return self._connection.execute("COMMIT")

    def list_100(self) -> object:
        query = "SELECT body FROM sessions WHERE user_id = ? ORDER BY created_at DESC LIMIT 100"
        return [json.loads(body) for (body,) in self._connection.execute(query, (USER,))]

    def _row(self, session: str, role: str, text: str) -> tuple[str, int, str, str]:
        self._place += 1
        message: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "session_id": session,
            "role": role,
            "content": text,
            "created_at": datetime.now(UTC).isoformat(),
        }
        return session, self._place, message["id"], json.dumps(message)
