"""What SQLite says, as the project's errors: one place, with what to do."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from session_continuity import (
    ConfigError,
    SessionContinuityError,
    StorageError,
    UnavailableError,
    ValidationError,
)

BACKEND = "sqlite"

TOO_MANY_TOKENS = "the session's token_count would pass 2**53, the largest that is kept; nothing was written"

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "{path} is locked: another process has been writing to it for longer than the busy_timeout of "
    "{busy_timeout:g} s; end that process's transaction, or raise busy_timeout; nothing was written",
    sqlite3.SQLITE_FULL: "the disk of {path} is full, or its quota reached; free space and repeat the call; "
    "nothing was written",
    sqlite3.SQLITE_READONLY: "{path} cannot be written; make the file and its directory writable for this process; "
    "nothing was written",
    sqlite3.SQLITE_PERM: "{path} may not be accessed; give this process permission on the file and its directory",
    sqlite3.SQLITE_IOERR: "the system failed to read or write {path} ({name}); look at the disk, its free space and "
    "limits on file sizes, then repeat the call",
    sqlite3.SQLITE_PROTOCOL: "{path} is opened by too many processes at once; repeat the call",
}
_FAILED = {
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database; name another file",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged; restore a backup, or rescue it with the sqlite3 tool's .recover",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What an error message says about where it happened."""

    path: str
    busy_timeout: float


class UnusableFileError(Exception):
    """The file is a database, but not one that this code can work with; the message ends with the remedy."""


class NotSetUpError(UnusableFileError):
    """Nothing but `setup` is missing."""


RAW_ERRORS = (sqlite3.Error, OverflowError, UnicodeEncodeError, OSError, UnusableFileError)


def storage_error(operation: str, message: str, *, needs_setup: bool = False) -> StorageError:
    """A failure of this backend; `needs_setup` is noted in its details."""
    return StorageError(message, backend=BACKEND, operation=operation, needs_setup=needs_setup)


def translate(error: Exception, *, operation: str, place: Place) -> SessionContinuityError:
    """The project's error for one of `RAW_ERRORS`; the caller chains it."""
    if isinstance(error, OverflowError):
        return ValidationError(f"a number or a time is larger than can be kept: {error}; nothing was written")
    if isinstance(error, UnicodeEncodeError):
        return ValidationError("text must be encodable as UTF-8; it holds a lone surrogate")
    if isinstance(error, OSError):
        return cannot_open(operation, place.path)
    if isinstance(error, UnusableFileError):
        return storage_error(operation, f"{place.path}: {error}", needs_setup=isinstance(error, NotSetUpError))
    extended: int = getattr(error, "sqlite_errorcode", 0)
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    code = extended & 0xFF
    if extended == sqlite3.SQLITE_CONSTRAINT_CHECK:
        return ValidationError(TOO_MANY_TOKENS)
    if code == sqlite3.SQLITE_CANTOPEN:
        return cannot_open(operation, place.path)
    facts = {"path": place.path, "busy_timeout": place.busy_timeout, "name": name}
    if code in _UNAVAILABLE:
        return UnavailableError(_UNAVAILABLE[code].format(**facts), backend=BACKEND, operation=operation, sqlite=name)
    said = _FAILED[code].format(**facts) if code in _FAILED else f"{place.path}: {name}: {error}"
    return StorageError(said, backend=BACKEND, operation=operation, sqlite=name)


def cannot_open(operation: str, path: str) -> SessionContinuityError:
    """Why SQLite could not open the file, as far as the file system tells."""
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        return ConfigError(
            f"sqlite: {path} is a directory; name a file in it, for example {os.path.join(path, 'chat.db')}"
        )
    if not os.path.isdir(directory):
        return ConfigError(f"sqlite: there is no directory {directory}; create it, or name a file elsewhere")
    if not os.path.exists(path) and operation != "setup":
        return storage_error(
            operation, f"there is no file {path}; call setup() to create it, or put it back", needs_setup=True
        )
    return UnavailableError(
        f"{path} cannot be opened; give this process permission to read and write the file and its directory",
        backend=BACKEND,
        operation=operation,
    )
