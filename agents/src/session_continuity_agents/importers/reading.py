"""What the importers share: files of SQLite, records of JSON, times, and ids for records without one."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from session_continuity import ConfigError, NewMessage, SessionContinuityError

__all__ = [
    "Ids",
    "client",
    "dated",
    "moment",
    "object_in",
    "opened_sqlite",
    "read_messages",
    "split_options",
    "sqlite_file",
]

_BEFORE_PATHS = "sqlite:///"
_DAMAGE = (SessionContinuityError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def client(name: str, what: str) -> Any:
    """A module that reads a store. Raises ConfigError, which says what to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise ConfigError(f"{what} is read with {package}: pip install {package}") from None


def split_options(source: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A URL without the options named, and these, with their defaults for those that the URL does not have."""
    parts = urlsplit(source)
    given = parse_qsl(parts.query, keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in given if name not in options])
    return urlunsplit(parts._replace(query=rest)), {**options, **{key: value for key, value in given if key in options}}


def sqlite_file(source: str, options: Collection[str] = ()) -> tuple[Path, dict[str, str]]:
    """The file of a source, and the options of a URL such as sqlite:///old.db?messages_table=chats.

    A path may be written without a URL. Raises ConfigError for options that do not exist.
    """
    if not source.startswith(_BEFORE_PATHS):
        return Path(source), {}
    path, _, query = source.removeprefix(_BEFORE_PATHS).partition("?")
    given = dict(parse_qsl(query))
    if given.keys() - set(options):
        raise ConfigError(f"the options of this source are: {', '.join(sorted(options)) or 'none'}")
    return Path(unquote(path)), given


@contextmanager
def opened_sqlite(path: Path, *tables: str) -> Generator[sqlite3.Connection]:
    """A file of SQLite, which is only read. Raises ConfigError if it does not have these tables."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = _text
        try:
            found = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master")}
            if missing := sorted(set(tables) - found):
                raise ConfigError(f"{path} has no table {' and no table '.join(missing)}")
            yield connection
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error


def _text(data: bytes) -> str | bytes:
    """Text as SQLite has it, or its bytes if it is damaged: one damaged row must not stop the import."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def object_in(text: Any) -> dict[str, Any]:
    """The object that JSON text holds. Raises ValueError, which says what the text is instead."""
    try:
        value = json.loads(text) if isinstance(text, str | bytes) else text
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not an object of JSON")
    return cast("dict[str, Any]", value)


def moment(value: Any) -> datetime | None:
    """A time that is stored as such, as seconds or as ISO text, in UTC if it has no zone; None for anything else."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except (ValueError, OverflowError, OSError):
        return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def dated(message: NewMessage, time: Any) -> NewMessage:
    """The message with the time of its record, if `moment` can read it."""
    return message.model_copy(update={"created_at": moment(time)})


def read_messages(
    records: Iterable[tuple[str, Any]], convert: Callable[[Any], Sequence[NewMessage]]
) -> tuple[list[NewMessage], list[str]]:
    """The messages of records, each with its name, and the names of those that are damaged, with the reason.

    Of two messages of one id the first counts. A message without a time gets that of the message before it.
    """
    messages: dict[str, NewMessage] = {}
    unreadable: list[str] = []
    for name, record in records:
        try:
            for message in convert(record):
                messages.setdefault(str(message.id), message)
        except _DAMAGE as error:
            plain = type(error) is ValueError
            unreadable.append(f"{name} {error if plain else f'is not a message ({type(error).__name__})'}")
    return _with_times(list(messages.values())), unreadable


def _with_times(messages: list[NewMessage]) -> list[NewMessage]:
    """The messages, all of them with times if one has a time: one that is stored with the present would move the times
    of all behind it."""
    time = next((message.created_at for message in messages if message.created_at), None)
    found: list[NewMessage] = []
    for message in messages:
        time = message.created_at or time
        found.append(message.model_copy(update={"created_at": time}))
    return found


class Ids:
    """Ids for records that have none: a digest of the record, with a number if an equal one came before it.

    They stay the same when records are added at the end.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, record: Any) -> str:
        """The id of the next record."""
        digest = hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=12).hexdigest()
        self._seen[digest] += 1
        number = self._seen[digest]
        return digest if number == 1 else f"{digest}-{number}"
