"""Sessions that openai-agents keeps in a file of SQLite: those of `SQLiteSession` and `AdvancedSQLiteSession`.

The source is a path, or a URL such as sqlite:///old.db?sessions_table=users&messages_table=chats.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from session_continuity import ImportedConversation, NewMessage, SessionFields, stable_id
from session_continuity_agents.importers.reading import (
    Ids,
    dated,
    moment,
    object_in,
    opened_sqlite,
    read_messages,
    sqlite_file,
)
from session_continuity_agents.keys import session_key
from session_continuity_agents.openai_items import FRAMEWORK, messages_of

__all__ = ["conversations"]

_TABLES = {"sessions_table": "agent_sessions", "messages_table": "agent_messages"}
_MAIN = "main"  # what AdvancedSQLiteSession calls the conversation that is not a branch


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The sessions of a file. A branch of a session is a conversation beside it."""
    path, options = sqlite_file(source, _TABLES)
    sessions, messages = {**_TABLES, **options}.values()
    with opened_sqlite(path, sessions, messages) as file:
        has_branches = bool(file.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_structure'").fetchall())
        for row in file.execute(f"SELECT session_id, created_at FROM {_quoted(sessions)}").fetchall():
            name = str(row["session_id"])
            fields: SessionFields = {"metadata": {"source": FRAMEWORK}, "created_at": moment(row["created_at"])}
            branches: list[str | None] = [*_branches(file, name)] if has_branches else []
            for branch in branches or [None]:
                rows = _rows(file, messages, name, branch)
                found, unreadable = read_messages(((f"row {row['id']}", row) for row in rows), _messages)
                id = stable_id(name) if branch in (None, _MAIN) else session_key(name, branch)
                yield ImportedConversation(id=id, fields=fields, messages=found, unreadable=unreadable)


def _branches(file: sqlite3.Connection, session_id: str) -> list[str]:
    """The branches of a session; none if `SQLiteSession` has written it beside sessions with branches."""
    query = "SELECT DISTINCT branch_id FROM message_structure WHERE session_id = ? ORDER BY branch_id"
    return [str(row["branch_id"]) for row in file.execute(query, (session_id,))]


def _rows(file: sqlite3.Connection, table: str, session_id: str, branch: str | None) -> list[sqlite3.Row]:
    """The rows of a session in the order of the conversation, or of one branch of it."""
    columns = f"SELECT m.id, m.message_data, m.created_at FROM {_quoted(table)} m"
    if branch is None:
        query = f"{columns} WHERE m.session_id = ? ORDER BY m.id"
        return file.execute(query, (session_id,)).fetchall()
    query = (
        f"{columns} JOIN message_structure s ON s.message_id = m.id "
        "WHERE m.session_id = ? AND s.branch_id = ? ORDER BY s.sequence_number"
    )
    return file.execute(query, (session_id, branch)).fetchall()


def _messages(row: sqlite3.Row) -> list[NewMessage]:
    """The messages of the item in a row.

    Each item becomes a message by itself: what an answer consists of may not be complete in the file yet, and a message
    must be the same in the next run.
    """
    item = object_in(row["message_data"])
    id = f"{FRAMEWORK}-{row['id']}-{Ids().of(item)[:8]}"
    return [
        dated(message, row["created_at"]).model_copy(update={"id": f"{id}-{place}" if place else id})
        for place, message in enumerate(messages_of([item]))
    ]


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
