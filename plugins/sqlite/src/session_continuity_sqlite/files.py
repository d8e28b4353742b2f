"""The database file as the file system shows it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from session_continuity import ConfigError

Identity = tuple[int, int]
"""A file's device and inode: the same path may name another file later."""

PRIVATE = 0o600
"""Only the owner reads conversations. SQLite gives its log and its shared memory the mode of the file."""


def identity(path: str) -> Identity | None:
    """The identity of the file at a path, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def has_content(path: str) -> bool:
    """Whether there is a file at the path that is not empty."""
    try:
        return os.path.getsize(path) > 0
    except FileNotFoundError:
        return False


def create_file(path: str) -> None:
    """Create an empty file for its owner alone, unless there is one. SQLite would give it the mode of the umask.

    Raises ConfigError for a link to a file that does not exist: following it could create a file anywhere.
    """
    if os.path.islink(path) and not os.path.exists(path):
        raise ConfigError(f"sqlite: {path} is a link to a file that does not exist; remove it, or create that file")
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))


def address(path: str) -> str:
    """The URI by which SQLite opens an existing file, without creating one."""
    return f"{Path(path).as_uri()}?{'immutable=1' if _cannot_change(path) else 'mode=rw'}"


def _cannot_change(path: str) -> bool:
    """Whether the file is on a read-only file system and complete without a log.

    There SQLite cannot create the shared memory that it needs beside a log. It does not need it for a file that nobody
    changes.
    """
    return is_read_only(path) and not os.path.exists(f"{path}-wal")


def is_read_only(path: str) -> bool:
    """Whether the file system of a file, or of the directory where it would be, is read-only."""
    if not hasattr(os, "statvfs"):
        return False
    try:
        place = path if os.path.exists(path) else os.path.dirname(path)
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False
