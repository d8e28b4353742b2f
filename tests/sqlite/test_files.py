"""Files that do not serve: each fault is a typed error that says what to do, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import (
    ConfigError,
    MessageTooLargeError,
    Patch,
    SessionFilter,
    StorageError,
    UnavailableError,
    ValidationError,
    run_now,
)
from session_continuity_sqlite import SqliteStorage
from session_continuity_sqlite.wire import LONGEST_SLEEP

from .making import Speaker, a_session, contents, messages, talk

if TYPE_CHECKING:
    from .conftest import Opens

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user whom file permissions bind, for as long as this lasts."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def locked(database: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute(f"BEGIN {kind}")
        yield


def test_a_missing_directory_is_named(opens: Opens, tmp_path: Path) -> None:
    store = opens(tmp_path / "no" / "chat.db", set_up=False)
    for call in (store.setup(), store.get_session("s"), store.create_session(a_session())):
        with pytest.raises(ConfigError, match=r"no directory .*/no; create it"):
            run_now(call)


def test_a_directory_in_place_of_the_file_is_named(opens: Opens, tmp_path: Path) -> None:
    store = opens(tmp_path, set_up=False)
    for call in (store.setup(), store.get_session("s")):
        with pytest.raises(ConfigError, match=r"is a directory; name a file in it"):
            run_now(call)


def test_a_file_that_is_no_database_is_refused_and_left_alone(opens: Opens, database: Path) -> None:
    text = "Dear diary, this is not a database. " * 100
    database.write_text(text)
    store = opens(set_up=False)
    for call in (store.setup(), store.get_session("s"), store.create_session(a_session())):
        with pytest.raises(StorageError, match="not a SQLite database; name another file"):
            run_now(call)
    assert run_now(store.health()).status == "unhealthy"
    assert database.read_text() == text


def overwritten(database: Path, table: str) -> None:
    """Fill the first page of a table with rubbish."""
    with closing(sqlite3.connect(database)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,))
        ((size,),) = connection.execute("PRAGMA page_size")
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def test_a_damaged_table_is_an_error_and_never_a_wrong_answer(opens: Opens, database: Path) -> None:
    store = opens()
    talk(store, 50)
    run_now(store.close())
    overwritten(database, "messages")
    store = opens()
    with pytest.raises(StorageError, match=r"is damaged; restore a backup, or rescue it with .*\.recover"):
        contents(store)
    with pytest.raises(StorageError, match="is damaged"):
        run_now(store.append_messages("s", [Speaker().says("more")]))
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.message_count == 50


def test_a_damaged_row_is_an_error_and_the_others_stay_readable(store: SqliteStorage, database: Path) -> None:
    said = talk(store, 3)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("UPDATE messages SET body = substr(body, 1, 20) WHERE id = ?", (said[1].id,))
        other.execute("UPDATE session_bodies SET body = '{}'")
    for call in (
        store.get_message("s", said[1].id),
        store.get_session("s"),
        store.list_sessions(SessionFilter(), limit=1),
    ):
        with pytest.raises(StorageError, match="a row cannot be read"):
            run_now(call)
    assert run_now(store.get_message("s", said[2].id)) == said[2]


def test_a_read_only_file_is_readable_and_refuses_writes(public: Path, opens: Opens) -> None:
    database = public / "chat.db"
    store = opens(database)
    talk(store, 2)
    run_now(store.close())
    database.chmod(0o444)
    public.chmod(0o777)
    with unprivileged():
        store = opens(database)
        assert contents(store) == ["message 0", "message 1"]
        with pytest.raises(UnavailableError, match=r"cannot be written; make the file and its directory writable"):
            run_now(store.append_messages("s", [Speaker().says("more")]))
        health = run_now(store.health())
        assert health.status == "degraded"
        assert "writable" in str(health.remedy)
        assert contents(store) == ["message 0", "message 1"]
        run_now(store.close())
    database.chmod(0o644)
    assert contents(opens(database)) == ["message 0", "message 1"]


def test_a_backup_that_may_not_be_written_is_readable(public: Path, opens: Opens) -> None:
    path = public / "chat.db"
    store = opens(path)
    talk(store, 2)
    run_now(store.close())
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o444)
    with unprivileged():
        reader = opens(path)
        assert len(contents(reader)) == 2
        with pytest.raises(UnavailableError, match="cannot be written"):
            talk(reader, 1)
        run_now(reader.close())


def test_a_read_only_directory_says_what_is_needed(public: Path, opens: Opens) -> None:
    existing, missing = public / "chat.db", public / "new.db"
    store = opens(existing)
    talk(store, 2)
    run_now(store.close())
    public.chmod(0o555)
    with unprivileged():
        with pytest.raises(UnavailableError, match="give this process permission"):
            opens(missing)
        with pytest.raises(UnavailableError, match=r"give this process permission|directory writable"):
            opens(existing)
    public.chmod(0o755)
    assert contents(opens(existing)) == ["message 0", "message 1"]


def test_a_file_that_may_not_be_read_says_so(public: Path, opens: Opens) -> None:
    database = public / "chat.db"
    run_now(opens(database).close())
    database.chmod(0o600)
    with unprivileged():
        store = opens(database, set_up=False)
        with pytest.raises(UnavailableError, match="give this process permission"):
            run_now(store.get_session("s"))
        assert run_now(store.health()).status == "unhealthy"


def test_a_locked_file_is_a_retryable_error_after_the_busy_timeout(opens: Opens, database: Path) -> None:
    store = opens(busy_timeout=0.05)
    said = talk(store, 1)
    more = Speaker().says("more", id="chosen")
    with locked(database):
        with pytest.raises(UnavailableError, match=r"is locked: .* 0\.05 s; end that .* raise busy_timeout") as caught:
            run_now(store.append_messages("s", [more], chosen_ids=["chosen"]))
        assert caught.value.retryable
        assert run_now(store.get_message("s", said[0].id)) == said[0]
        assert run_now(store.health()).status == "degraded"
    assert contents(store) == ["message 0"]
    run_now(store.append_messages("s", [more], chosen_ids=["chosen"]))
    assert contents(store) == ["message 0", "more"]


def test_a_short_lock_is_waited_for(opens: Opens, database: Path) -> None:
    store = opens(busy_timeout=30)
    talk(store, 0)
    waiting = threading.Event()
    with locked(database):
        writer = threading.Thread(
            target=lambda: (waiting.set(), run_now(store.append_messages("s", [Speaker().says("patient")])))
        )
        writer.start()
        assert waiting.wait(10)
        assert contents(store) == []
    writer.join(30)
    assert contents(store) == ["patient"]


def test_setup_waits_while_another_process_makes_the_file(opens: Opens, database: Path) -> None:
    with locked(database, "EXCLUSIVE"):
        setup = threading.Thread(target=opens, kwargs={"busy_timeout": 30})
        setup.start()
        setup.join(10 * LONGEST_SLEEP)  # longer than SQLite waits by itself
        assert setup.is_alive()
    setup.join(30)
    assert run_now(opens(set_up=False).health()).status == "healthy"


def test_a_new_file_that_another_locks_is_unavailable(opens: Opens, database: Path) -> None:
    with locked(database, "EXCLUSIVE"), pytest.raises(UnavailableError, match="locked"):
        opens(busy_timeout=0.05)
    assert run_now(opens().health()).status == "healthy"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows over so many bytes: the system refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: SqliteStorage, speaker: Speaker) -> tuple[list[str], UnavailableError]:
    """Append until the store refuses; what was acknowledged, and the refusal."""
    acknowledged: list[str] = []
    while True:
        message = speaker.says("x" * 3000)
        try:
            run_now(store.append_messages("s", [message]))
        except UnavailableError as error:
            return acknowledged, error
        acknowledged.append(message.id)
        assert len(acknowledged) < 10_000


def stored_ids(store: SqliteStorage) -> list[str]:
    return [message.id for message in messages(store)]


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_no_space_for_the_log_loses_nothing_acknowledged(opens: Opens, database: Path, synchronous: str) -> None:
    store, speaker = opens(synchronous=synchronous), Speaker()
    run_now(store.create_session(a_session()))
    with largest_file(os.path.getsize(f"{database}-wal") + 500_000):
        acknowledged, error = fill(store, speaker)
        assert "free space" in error.message
        assert len(acknowledged) > 10
        assert stored_ids(store) == acknowledged
    again = speaker.says("there is space again")
    run_now(store.append_messages("s", [again]))
    run_now(store.close())
    assert stored_ids(opens()) == [*acknowledged, again.id]


def test_a_full_disk_loses_nothing_acknowledged(store: SqliteStorage, opens: Opens) -> None:
    speaker = Speaker()
    run_now(store.create_session(a_session()))
    store._connections.read("test", lambda connection: connection.execute("PRAGMA max_page_count = 60").fetchall())
    acknowledged, error = fill(store, speaker)
    assert "is full, or its quota reached; free space and repeat the call; nothing was written" in error.message
    assert len(acknowledged) > 10
    assert stored_ids(store) == acknowledged
    session = run_now(store.get_session("s"))
    assert session is not None
    assert (session.message_count, session.token_count) == (len(acknowledged), len(acknowledged))
    run_now(store.delete_all_messages("s"))
    run_now(store.append_messages("s", [speaker.says("the space of deleted messages serves again")]))
    assert len(stored_ids(opens())) == 1


def test_a_message_over_the_limit_of_a_row_is_refused_with_both_sizes(store: SqliteStorage) -> None:
    said = talk(store, 1)
    limited = 100_000
    store._connections.read("test", lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limited))
    with pytest.raises(MessageTooLargeError) as caught:
        run_now(store.append_messages("s", [Speaker().says("é" * 60_000)]))
    assert caught.value.size > 120_000
    assert caught.value.limit < limited
    with pytest.raises(MessageTooLargeError):
        run_now(store.update_message("s", said[0].id, Patch(set={"content": "x" * 100_000})))
    run_now(store.append_messages("s", [Speaker().says("é" * 40_000)]))
    assert len(contents(store)) == 2


def test_totals_that_cannot_be_read_back_are_refused_whole(store: SqliteStorage) -> None:
    said = talk(store, 1)
    speaker = Speaker()
    with pytest.raises(ValidationError, match=r"token_count would pass 2\*\*53"):
        run_now(store.append_messages("s", [speaker.says("too much", tokens=2**53)]))
    with pytest.raises(ValidationError, match="larger than can be kept"):
        run_now(store.append_messages("s", [speaker.says("far too much", tokens=2**53) for _ in range(1025)]))
    just_enough = speaker.says("just enough", tokens=2**53 - 1)
    run_now(store.append_messages("s", [just_enough]))
    assert run_now(store.append_messages("s", [just_enough])).repeated
    with pytest.raises(ValidationError, match=r"token_count would pass 2\*\*53"):
        run_now(store.update_message("s", said[0].id, Patch(set={"token_count": 2})))
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.token_count == 2**53
    assert contents(store) == ["message 0", "just enough"]


def test_text_that_is_not_utf8_is_refused(store: SqliteStorage) -> None:
    with pytest.raises(ValidationError, match="lone surrogate"):
        run_now(store.get_session("\ud800"))
