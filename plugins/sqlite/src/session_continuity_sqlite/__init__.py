"""session-continuity in one SQLite file: `sqlite:///chat.db`, or `SqliteStorage("chat.db")`.

The embedded, durable default: the standard library's `sqlite3`, no server, several processes and threads at once.

`sqlite:///relative.db` is relative to the working directory at the time of opening, `sqlite:////absolute/path.db` has
four slashes. Options: `busy_timeout` (seconds a write waits for other writers, 10), `synchronous` (`normal` or
`full`), `namespace`.

*What survives.* A write that was acknowledged survives the death of the process, SIGKILL included, in either setting.
A power loss or a crash of the operating system never damages the file; with `synchronous=normal` it may take back the
last writes, from the newest on, that the system had not yet brought to the disk; with `synchronous=full` it takes back
nothing: every write waits for the disk, once.

*Files.* Beside the database lie its `-wal` and `-shm` files while it is open; they belong to it, and whoever copies
or moves one moves all three. The directory must be on a local disk: SQLite's shared memory needs one. Space of deleted
sessions is used again; the file does not shrink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_continuity_sqlite._version import __version__

if TYPE_CHECKING:
    from session_continuity_sqlite.adapter import SqliteStorage

__all__ = ["SqliteStorage", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: core imports this package to learn of the plugin, without the database library.
    if name == "SqliteStorage":
        from session_continuity_sqlite.adapter import SqliteStorage

        return SqliteStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
