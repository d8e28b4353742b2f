"""SQLite's errors as errors of this project, each with what to do."""

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
from session_continuity_sqlite.files import is_read_only

TOO_MANY_TOKENS = "the session's token_count would exceed 2**53, the largest number that is kept; nothing was written"

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "{path} is locked: another process has been writing to it for longer than the busy_timeout of "
    "{busy_timeout:g} s; end that process's transaction, or raise busy_timeout; nothing was written",
    sqlite3.SQLITE_FULL: "the disk of {path} is full, or its quota is used up; free space and repeat the call; "
    "nothing was written",
    sqlite3.SQLITE_READONLY: "{path} cannot be written; make the file and its directory writable for this process; "
    "nothing was written",
    sqlite3.SQLITE_PERM: "access to {path} was denied; give this process permission on the file and its directory",
    sqlite3.SQLITE_IOERR: "the system failed to read or write {path} ({name}); check the disk, its free space and "
    "limits on file sizes, then repeat the call",
    sqlite3.SQLITE_PROTOCOL: "too many processes open {path} at once; repeat the call",
}
_FAILED = {
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database; name another file",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged; restore a backup, or rescue it with the sqlite3 tool's .recover",
}

_NO_SHARED_MEMORY = frozenset(
    {
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)

_READ_ONLY = (
    "the file system of {path} is read-only; mount it writable, or open the store with setup=False and only read; "
    "nothing was written"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The file and the timeout that error messages name."""

    path: str
    busy_timeout: float


class UnusableFileError(Exception):
    """The file is a database, but not one that this code can use. The message ends with the remedy."""


class NotSetUpError(UnusableFileError):
    """The file only lacks what `setup` creates."""


def translate(error: Exception, operation: str, place: Place) -> SessionContinuityError | None:
    """This project's error for one that SQLite or the file system raised, None for any other."""
    match error:
        case OverflowError():
            return ValidationError(f"a number or a time is too large to be stored: {error}; nothing was written")
        case UnicodeEncodeError():
            return ValidationError("text has a lone surrogate, which UTF-8 cannot encode; nothing was written")
        case OSError():
            return _cannot_open(operation, place.path)
        case UnusableFileError():
            needs_setup = isinstance(error, NotSetUpError)
            return StorageError(f"{place.path}: {error}", needs_setup=needs_setup)
        case sqlite3.Error():
            return _translate_sqlite(error, operation, place)
        case _:
            return None


def needs_setup(error: SessionContinuityError | None) -> bool:
    """Whether `setup` would remove the cause of the error."""
    return isinstance(error, StorageError) and error.details.get("needs_setup") is True


def is_locked(error: sqlite3.OperationalError) -> bool:
    """Whether another process holds a lock on the file."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _translate_sqlite(error: sqlite3.Error, operation: str, place: Place) -> SessionContinuityError:
    # Errors that Python's sqlite3 raises by itself have no code. An extended code has the plain one in its low byte.
    extended: int = getattr(error, "sqlite_errorcode", 0)
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    code = extended & 0xFF
    if extended == sqlite3.SQLITE_CONSTRAINT_CHECK:
        return ValidationError(TOO_MANY_TOKENS)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(operation, place.path)
    if extended in _NO_SHARED_MEMORY:
        return StorageError(f"the file system of {place.path} has no shared memory; put the file on a local disk")
    if code == sqlite3.SQLITE_READONLY and is_read_only(place.path):
        return StorageError(_READ_ONLY.format(path=place.path), sqlite=name)
    facts = {"path": place.path, "busy_timeout": place.busy_timeout, "name": name}
    if code in _UNAVAILABLE:
        return UnavailableError(_UNAVAILABLE[code].format(**facts), sqlite=name)
    message = _FAILED[code].format(**facts) if code in _FAILED else f"{place.path}: {name}: {error}"
    return StorageError(message, sqlite=name)


def _cannot_open(operation: str, path: str) -> SessionContinuityError:
    """Why SQLite could not open the file, as far as the file system shows it."""
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        return ConfigError(
            f"sqlite: {path} is a directory; name a file in it, for example {os.path.join(path, 'chat.db')}"
        )
    if not os.path.isdir(directory):
        return ConfigError(f"sqlite: there is no directory {directory}; create it, or name a file elsewhere")
    if operation == "setup" and is_read_only(path):
        return StorageError(_READ_ONLY.format(path=path))
    if not os.path.exists(path) and operation != "setup":
        return StorageError(f"there is no file {path}; call setup() to create it, or put it back", needs_setup=True)
    return UnavailableError(
        f"{path} cannot be opened; give this process permission to read and write the file and its directory"
    )
