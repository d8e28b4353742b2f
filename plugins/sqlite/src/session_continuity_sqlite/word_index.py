"""The index of the words of messages, for searches: an FTS5 table, and the messages that are not in it yet.

Core cuts texts into words, so that every store finds the same. FTS5 only separates them at spaces: the tokenizer
`ascii` takes every character outside of ASCII for a part of a word. The table keeps the words of each message. So an
entry is removed right also by a Python with newer tables of Unicode, which would cut the text in another way.

Triggers note which messages are due, whoever writes them, also an adapter that was opened without the option. `setup`
and each search enter their words first. The triggers are SQL alone: SQLite loses an exception that a signal handler
raises inside of a function in Python, and no other program could write to the file.
"""

from __future__ import annotations

import sqlite3

from session_continuity import (
    Message,
    Page,
    PluginError,
    SearchTerms,
    decode_cursor,
    encode_cursor,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.errors import NotSetUpError
from session_continuity_sqlite.message_pages import COLUMNS
from session_continuity_sqlite.schema import SEQUENCE_BITS
from session_continuity_sqlite.session_rows import LIVE, OWN, Scope

ENTERED_AT_ONCE = 500
"""The most messages of one step. Other writers wait for no longer than it takes."""

LOOKED_AT = 1000
"""The most matches that one page looks at, of all sessions of the file. It then ends early, with a cursor."""

_NOTE = "INSERT INTO message_words_due SELECT new.place WHERE new.role IN ('user', 'assistant');"

_REMOVE = """
    DELETE FROM message_words WHERE rowid = old.place;
    DELETE FROM message_words_due WHERE place = old.place;"""

_CREATE = (
    "CREATE VIRTUAL TABLE message_words USING fts5 (words, tokenize = 'ascii')",
    "CREATE TABLE message_words_due (place INTEGER PRIMARY KEY) STRICT",
    "INSERT INTO message_words_due SELECT place FROM messages WHERE role IN ('user', 'assistant')",
    f"CREATE TRIGGER message_words_added AFTER INSERT ON messages BEGIN {_NOTE} END",
    f"CREATE TRIGGER message_words_removed AFTER DELETE ON messages BEGIN {_REMOVE} END",
    f"CREATE TRIGGER message_words_changed AFTER UPDATE OF role, content, body ON messages BEGIN {_REMOVE} {_NOTE} END",
)

_DUE = f"""
    SELECT messages.place, role, content, body
    FROM message_words_due CROSS JOIN messages ON messages.place = message_words_due.place
    ORDER BY message_words_due.place LIMIT {ENTERED_AT_ONCE}"""

_MATCHES = "message_words MATCH :query AND message_words.rowid > :low AND message_words.rowid < :high"

_FLOOR = f"""
    SELECT min(place), count(*) FROM (
        SELECT rowid AS place FROM message_words WHERE {_MATCHES} ORDER BY rowid DESC LIMIT {LOOKED_AT}
    )"""

# CROSS JOIN makes SQLite begin with the matches.
_PAGE = f"""
    SELECT sessions.id, {", ".join(f"messages.{column}" for column in COLUMNS.split(", "))}
    FROM message_words CROSS JOIN messages ON messages.place = message_words.rowid
        CROSS JOIN sessions ON sessions.key = messages.session
    WHERE {_MATCHES} AND sessions.namespace = :namespace AND {OWN} AND {LIVE}
        AND (:user_id IS NULL OR sessions.user_id = :user_id)
    ORDER BY message_words.rowid DESC LIMIT :limit"""


def check_library() -> None:
    """Raises PluginError if this Python's SQLite has no full-text search."""
    connection = sqlite3.connect(":memory:")
    try:
        ((has_fts5,),) = connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchall()
    finally:
        connection.close()
    if not has_fts5:
        raise PluginError("search=true needs SQLite with FTS5, which this Python's lacks; use another Python build")


def create(connection: sqlite3.Connection) -> None:
    """Create the index, with every message due, if the file has none."""
    if not _is_there(connection):
        for statement in _CREATE:
            connection.execute(statement)


def has_due(connection: sqlite3.Connection) -> bool:
    """Whether there are messages that are not in the index yet. Raises NotSetUpError if the file has no index."""
    if not _is_there(connection):
        raise NotSetUpError("the file has no index of words; call setup() to create it")
    return bool(connection.execute("SELECT 1 FROM message_words_due LIMIT 1").fetchall())


def enter_some(connection: sqlite3.Connection) -> bool:
    """Enter the words of some of the messages that are due, and return whether there were any."""
    rows = connection.execute(_DUE).fetchall()
    entries = [(place, words) for place, *said in rows if (words := codec.words_said(*said)) is not None]
    connection.executemany("INSERT INTO message_words (rowid, words) VALUES (?, ?)", entries)
    connection.executemany("DELETE FROM message_words_due WHERE place = ?", [row[:1] for row in rows])
    return bool(rows)


def _is_there(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'message_words_due'").fetchall())


def search(
    connection: sqlite3.Connection,
    scope: Scope,
    text: str,
    user_id: str | None,
    session_id: str | None,
    limit: int,
    cursor: str | None,
) -> Page[Message]:
    """One page of the messages in the index that meet a search, the newest session first.

    Raises SessionNotFoundError.
    """
    binding = repr(["search", text, user_id, session_id])
    key = 0 if session_id is None else session_rows.get_state(connection, scope, session_id).key
    high = 2**63 - 1 if session_id is None else (key + 1) << SEQUENCE_BITS
    if cursor is not None:
        high = decode_cursor(cursor, bound_to=binding, form=int)
    parameters = scope.parameters(
        "",
        query=_expression(SearchTerms.of(text)),
        user_id=user_id,
        limit=limit + 1,
        low=key << SEQUENCE_BITS,
        high=high,
    )
    ((floor, looked_at),) = connection.execute(_FLOOR, parameters).fetchall()
    if floor is None:
        return Page(())
    rows = connection.execute(_PAGE, {**parameters, "low": floor - 1}).fetchall()
    found = [(row[2], codec.readable_messages(row[0], [row[1:]])[0]) for row in rows[:limit]]
    last = rows[limit - 1][1] if len(rows) > limit else floor if looked_at == LOOKED_AT else None
    return Page(
        tuple(message for _, message in found if message is not None),
        None if last is None else encode_cursor(last, bound_to=binding),
        tuple(message_id for message_id, message in found if message is None),
    )


def _expression(terms: SearchTerms) -> str:
    """The terms in FTS5's language. Words have no character that it gives a meaning to inside of quotes."""
    return " ".join(f'"{" ".join(phrase)}"' for phrase in terms.phrases) + " *"
