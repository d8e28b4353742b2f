"""session-continuity in one SQLite file: `sqlite:///chat.db`, or `SqliteStorage("chat.db")`.

The embedded, durable default: the standard library's `sqlite3`, no server, several processes and threads at once.

`sqlite:///relative.db` is relative to the working directory at the time of opening. `sqlite:////absolute/path.db` has
four slashes. Options: `busy_timeout` (seconds that a write waits for other writers, 10), `synchronous` (`normal` or
`full`), `namespace`.

*What survives.* An acknowledged write survives the death of the process, also by SIGKILL, in either setting. A power
failure or a crash of the operating system never damages the file. With `synchronous=normal` it may undo the last
writes, those that the system had not yet written to the disk. With `synchronous=full` it undoes nothing: every write
waits for the disk once.

*Files.* While the database is open, its `-wal` and `-shm` files lie beside it. They are a part of it: copy or move all
three together. The directory must be on a local disk, because SQLite needs shared memory there. The space of deleted
sessions is used again, but the file does not shrink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_sqlite._version import __version__

if TYPE_CHECKING:
    from session_continuity_sqlite.adapter import SqliteStorage

__all__ = ["SqliteStorage", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `SqliteStorage` when it is first used: core imports this package without the database library."""
    if name == "SqliteStorage":
        from session_continuity_sqlite.adapter import SqliteStorage

        return SqliteStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
