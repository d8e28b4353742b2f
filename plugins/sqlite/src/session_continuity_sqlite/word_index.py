"""The index of the words of messages, for searches: an FTS5 table that triggers keep, and its construction in steps.

Core cuts texts into words, so that every store finds the same. FTS5 only separates them at spaces: the tokenizer
`ascii` takes every character outside of ASCII for a part of a word. The table keeps the words of each message. So an
entry is removed right also by a Python with newer tables of Unicode, which would cut the text in another way.

Triggers keep the index whoever writes, also an adapter that was opened without the option.
"""

from __future__ import annotations

import sqlite3

from session_continuity import (
    Message,
    Page,
    PluginError,
    SearchTerms,
    UnavailableError,
    decode_cursor,
    encode_cursor,
)
from session_continuity_sqlite import codec, session_rows
from session_continuity_sqlite.errors import NotSetUpError
from session_continuity_sqlite.message_pages import COLUMNS
from session_continuity_sqlite.schema import SEQUENCE_BITS
from session_continuity_sqlite.session_rows import LIVE, OWN, Scope

BUILT_AT_ONCE = 500
"""The most messages of one step of the construction. Other writers wait for no longer than it takes."""

LOOKED_AT = 1000
"""The most matches that one page looks at, of all sessions of the file. It then ends early, with a cursor."""

_ADD = """INSERT INTO message_words (rowid, words)
    SELECT new.place, words FROM (SELECT words_said(new.role, new.content, new.body) AS words)
    WHERE words IS NOT NULL;"""

_REMOVE = "DELETE FROM message_words WHERE rowid = old.place;"

_CREATE = (
    "CREATE VIRTUAL TABLE message_words USING fts5 (words, tokenize = 'ascii')",
    "CREATE TABLE search_state (built INTEGER NOT NULL, last INTEGER NOT NULL) STRICT",
    "INSERT INTO search_state SELECT 0, coalesce(max(place), 0) FROM messages",
    f"CREATE TRIGGER message_words_added AFTER INSERT ON messages BEGIN {_ADD} END",
    f"CREATE TRIGGER message_words_removed AFTER DELETE ON messages BEGIN {_REMOVE} END",
    f"CREATE TRIGGER message_words_changed AFTER UPDATE OF role, content, body ON messages BEGIN {_REMOVE} {_ADD} END",
)

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
    """Create the index, empty, if the file has none."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'search_state'").fetchall():
        for statement in _CREATE:
            connection.execute(statement)


def build_step(connection: sqlite3.Connection) -> bool:
    """Index some of the messages that are older than the index, and return whether there may be more."""
    ((built, last),) = connection.execute("SELECT built, last FROM search_state").fetchall()
    if built >= last:
        return False
    rows = connection.execute(
        "SELECT place, words_said(role, content, body) FROM messages "
        "WHERE place > ? AND place <= ? ORDER BY place LIMIT ?",
        (built, last, BUILT_AT_ONCE),
    ).fetchall()
    entries = [row for row in rows if row[1] is not None]
    # REPLACE, because a trigger has entered a message that was edited meanwhile.
    connection.executemany("INSERT OR REPLACE INTO message_words (rowid, words) VALUES (?, ?)", entries)
    reached = rows[-1][0] if len(rows) == BUILT_AT_ONCE else last
    connection.execute("UPDATE search_state SET built = ?", (reached,))
    return True


def search(
    connection: sqlite3.Connection,
    scope: Scope,
    text: str,
    user_id: str | None,
    session_id: str | None,
    limit: int,
    cursor: str | None,
) -> Page[Message]:
    """One page of the messages that meet a search, the newest session first. Raises SessionNotFoundError."""
    _check_built(connection)
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


def _check_built(connection: sqlite3.Connection) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'search_state'").fetchall():
        raise NotSetUpError("the file has no index of words; call setup() to build it")
    ((built, last),) = connection.execute("SELECT built, last FROM search_state").fetchall()
    if built < last:
        raise UnavailableError("the index of words is being built; repeat the call, or call setup() to complete it")


def _expression(terms: SearchTerms) -> str:
    """The terms in FTS5's language. Words have no character that it gives a meaning to inside of quotes."""
    return " ".join(f'"{" ".join(phrase)}"' for phrase in terms.phrases) + " *"
