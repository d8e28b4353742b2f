"""The tables, and how a file gets them: one transaction for each setup, safe for several processes at once.

`PRAGMA user_version` counts the migrations that a file has had. `PRAGMA application_id` marks it as ours.

- *sessions* has what an append changes and what a listing searches, its title `folded`. It stays small, whatever an
  application stores in a session.
- *session_bodies* has the rest of the session as JSON.
- *messages* is clustered by `place`, which is the session's key and the message's sequence number in one integer. So a
  session's messages lie together in conversation order, and a page of them is one range of the table. A message has
  its text in `content` and its metadata as JSON; if that does not describe it, it is JSON in `body`.
- *forks* has a row for each session that was forked from another, as long as both exist.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from unicodedata import normalize

from session_continuity import PluginError
from session_continuity_sqlite.errors import NotSetUpError, UnusableFileError
from session_continuity_sqlite.files import is_read_only

APPLICATION_ID = 0x53435354
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
SEQUENCE_BITS = 32
LARGEST_COUNT = 2**53  # the largest that models accept

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""CREATE TABLE sessions (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            namespace TEXT NOT NULL,
            id TEXT NOT NULL,
            user_id TEXT,
            active_agent_id TEXT,
            status TEXT NOT NULL,
            created_at TEXT NOT NULL,
            expires_at TEXT,
            hard_limit INTEGER,
            version INTEGER NOT NULL,
            message_count INTEGER NOT NULL DEFAULT 0,
            token_count INTEGER NOT NULL DEFAULT 0 CHECK (token_count <= {LARGEST_COUNT}),
            last_activity_at TEXT NOT NULL,
            last_sequence INTEGER NOT NULL DEFAULT 0,
            last_message_at TEXT
        ) STRICT""",
        "CREATE UNIQUE INDEX sessions_by_id ON sessions (namespace, id)",
        "CREATE INDEX sessions_by_time ON sessions (namespace, created_at, id)",
        """CREATE INDEX sessions_by_user ON sessions (namespace, user_id, created_at, id)
            WHERE user_id IS NOT NULL""",
        """CREATE INDEX sessions_by_agent ON sessions (namespace, active_agent_id, created_at, id)
            WHERE active_agent_id IS NOT NULL""",
        """CREATE INDEX sessions_by_expiry ON sessions (namespace, expires_at, id)
            WHERE expires_at IS NOT NULL""",
        """CREATE TABLE session_bodies (
            session INTEGER PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
            body TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE session_tags (
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            tag TEXT NOT NULL,
            PRIMARY KEY (session, tag)
        ) STRICT, WITHOUT ROWID""",
        f"""CREATE TABLE messages (
            place INTEGER PRIMARY KEY,
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            id TEXT NOT NULL,
            role TEXT NOT NULL,
            created_at TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            content TEXT,
            metadata TEXT,
            body TEXT,
            CHECK (place >> {SEQUENCE_BITS} = session),
            CHECK (content IS NOT NULL OR body IS NOT NULL)
        ) STRICT""",
        "CREATE UNIQUE INDEX messages_by_id ON messages (session, id)",
        "CREATE INDEX messages_by_role ON messages (session, role)",
        "CREATE INDEX messages_by_time ON messages (session, created_at)",
    ),
    (
        """CREATE TABLE forks (
            source INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            created_at TEXT NOT NULL,
            id TEXT NOT NULL,
            message_id TEXT,
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            PRIMARY KEY (source, created_at, id)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX forks_by_session ON forks (session)",
    ),
    (
        """CREATE INDEX sessions_by_user_activity ON sessions (namespace, user_id, last_activity_at, id)
            WHERE user_id IS NOT NULL""",
        "ALTER TABLE sessions ADD COLUMN title TEXT",
        """UPDATE sessions SET title = nfkc(casefold(nfkc(json_extract(body, '$.metadata.title')))) FROM session_bodies
            WHERE session = key AND json_valid(body) AND json_type(body, '$.metadata.title') = 'text'""",
    ),
)
VERSION = len(MIGRATIONS)


def check_library() -> None:
    """Raises PluginError if this Python's SQLite is too old for the tables."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise PluginError(
            f"sqlite:// needs SQLite {oldest} or newer; this Python is linked with {sqlite3.sqlite_version}: "
            "use a newer Python build, or upgrade the system's SQLite"
        )


def check(connection: sqlite3.Connection) -> None:
    """Raises UnusableFileError unless the file is ours, and at exactly this code's version."""
    version = _version(connection)
    if version < VERSION:
        state = "has no tables yet" if version == 0 else f"is at version {version}, older than this code's {VERSION}"
        raise NotSetUpError(f"the file {state}; call setup() to bring it up to date")


def prepare(connection: sqlite3.Connection) -> None:
    """Migrate the file to this code's version. Repeat it if it fails because another process does the same.

    Raises UnusableFileError if the file belongs to another program or is newer than this code.
    """
    version = _version(connection)
    try:
        _use_write_ahead_log(connection)
    except sqlite3.OperationalError as error:
        if version < VERSION or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise  # a backup that cannot be written can still be read
    if version == VERSION:
        return
    # What core's `folded` does, in C: SQLite loses an exception that a signal handler raises in a function in Python.
    connection.create_function("nfkc", 1, partial(normalize, "NFKC"))
    connection.create_function("casefold", 1, str.casefold)
    connection.execute("BEGIN IMMEDIATE")
    for migration in MIGRATIONS[_version(connection) :]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Choose the journal that lets readers and a writer work at once. A restored file may have another."""
    ((mode,),) = connection.execute("PRAGMA journal_mode = WAL")
    if mode not in ("wal", "memory"):
        ((_, _, path),) = connection.execute("PRAGMA database_list")
        if is_read_only(path):  # where nobody can write, no journal is needed
            return
        raise UnusableFileError("its file system has no shared memory; put the file on a local disk")


def missing_parts(connection: sqlite3.Connection) -> list[str]:
    """The tables and indexes that the file lacks."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    return sorted(_parts() - present)


def _parts() -> set[str]:
    model = sqlite3.connect(":memory:", isolation_level=None)
    try:
        prepare(model)
        return {name for (name,) in model.execute("SELECT name FROM sqlite_schema")}
    finally:
        model.close()


def _version(connection: sqlite3.Connection) -> int:
    """The file's version, 0 for an empty one."""
    ((application, version, objects),) = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) "
        "FROM pragma_application_id, pragma_user_version"
    )
    if application != APPLICATION_ID:
        if application or version or objects:
            raise UnusableFileError("the file belongs to another program; name another file")
        return 0
    if version > VERSION:
        raise UnusableFileError(
            f"the file is at version {version}, newer than this code's {VERSION}; upgrade session-continuity-sqlite"
        )
    return int(version)
