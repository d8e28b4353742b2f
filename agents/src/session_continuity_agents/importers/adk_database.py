"""Sessions that google-adk keeps in a database: those of `SqliteSessionService` and `DatabaseSessionService`.

The source is a file of SQLite, or a URL of SQLAlchemy such as postgresql+psycopg://localhost/agents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from session_continuity import ConfigError, ImportedConversation, NewMessage
from session_continuity_agents.adk_events import (
    FRAMEWORK,
    State,
    app_state_id,
    conversation_id,
    message_of_event,
    owner_of,
    session_fields,
    user_state_id,
)
from session_continuity_agents.importers.reading import moment, object_in, opened_sqlite, read_messages, sqlite_file

__all__ = ["conversations"]

Row = Mapping[str, Any]


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The sessions of every app, and the states of apps and users, which are sessions without messages."""
    with _opened(source) as database:
        for row in database.query("SELECT app_name, state FROM app_states ORDER BY app_name", {}):
            yield _state(app_state_id(row["app_name"]), None, row)
        for row in database.query("SELECT app_name, user_id, state FROM user_states ORDER BY app_name, user_id", {}):
            yield _state(user_state_id(row["app_name"], row["user_id"]), owner_of(row["user_id"]), row)
        columns = "app_name, user_id, id, state, create_time, update_time"
        for row in database.query(f"SELECT {columns} FROM sessions ORDER BY app_name, user_id, id", {}):
            yield _session(database, row)


@dataclass(frozen=True, slots=True)
class _Database:
    """`query` takes SQL with named parameters, and returns rows. `tie` is the order of events of one time."""

    query: Callable[[str, Mapping[str, Any]], Sequence[Row]]
    tie: str = "id"


@contextmanager
def _opened(source: str) -> Generator[_Database]:
    """The database of a source. Raises ConfigError if it does not have google-adk's tables."""
    if "://" in source and not source.startswith("sqlite"):
        with _opened_by_url(source) as database:
            yield database
        return
    path, _ = sqlite_file(source.replace("sqlite+aiosqlite:", "sqlite:", 1))
    with opened_sqlite(path, "sessions", "events", "app_states", "user_states") as file:
        _check({row["name"] for row in file.execute("PRAGMA table_info(events)")})
        tables = {row["name"] for row in file.execute("SELECT name FROM sqlite_master")}

        def query(sql: str, values: Mapping[str, Any]) -> list[Row]:
            return [dict(zip(row.keys(), row, strict=True)) for row in file.execute(sql, values)]

        # Only DatabaseSessionService has this table. The services sort events of one time differently.
        yield _Database(query, "id" if "adk_internal_metadata" in tables else "rowid")


@contextmanager
def _opened_by_url(url: str) -> Generator[_Database]:
    try:
        from sqlalchemy import create_engine, inspect, text
        from sqlalchemy.exc import SQLAlchemyError
    except ModuleNotFoundError:
        raise ConfigError("a database other than SQLite is read with SQLAlchemy: pip install sqlalchemy") from None
    try:
        with create_engine(url).connect() as connection:
            _check({str(column["name"]) for column in inspect(connection).get_columns("events")})

            def query(sql: str, values: Mapping[str, Any]) -> list[Row]:
                return [dict(row) for row in connection.execute(text(sql), dict(values)).mappings()]

            yield _Database(query)
    except ModuleNotFoundError as error:
        raise ConfigError(f"the source needs the module {error.name}, which is not installed") from error
    except SQLAlchemyError as error:
        raise ConfigError(f"the source cannot be read ({type(error).__name__})") from error


def _check(columns: Collection[str]) -> None:
    """Raise ConfigError for events of google-adk's older schema, which are pickles."""
    if "event_data" not in columns:
        raise ConfigError("the source has events of google-adk's older schema; run `adk migrate session` first")


def _state(id: str, owner: str | None, row: Row) -> ImportedConversation:
    """The state of an app or a user."""
    try:
        metadata = {"source": FRAMEWORK, "custom": {FRAMEWORK: {"state": object_in(row["state"])}}}
    except ValueError as error:
        return ImportedConversation(id=id, fields=None, unreadable=[f"the state {error}"])
    return ImportedConversation(id=id, fields={"user_id": owner, "metadata": metadata})


def _session(database: _Database, row: Row) -> ImportedConversation:
    app, user, name = row["app_name"], row["user_id"], row["id"]
    unreadable: list[str] = []
    state = State()
    try:
        state = object_in(row["state"])
    except ValueError as error:
        unreadable.append(f"the state {error}")
    events = database.query(
        "SELECT id, event_data FROM events WHERE app_name = :app AND user_id = :user AND session_id = :session "
        f"ORDER BY timestamp, {database.tie}",
        {"app": app, "user": user, "session": name},
    )
    messages, damaged = read_messages(((f"event {event['id']}", event) for event in events), _messages)
    updated = moment(row["update_time"])
    entry = {"app": app, "user": user, "id": name, "state": state, "events": len(messages)}
    fields = session_fields({**entry, "updated": updated.timestamp() if updated else 0.0}, moment(row["create_time"]))
    return ImportedConversation(
        id=conversation_id(app, user, name), fields=fields, messages=messages, unreadable=[*unreadable, *damaged]
    )


def _messages(row: Row) -> list[NewMessage]:
    return [message_of_event({**object_in(row["event_data"]), "id": row["id"]})]
