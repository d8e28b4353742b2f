"""Files that do not serve: each fault is a typed error that says what to do, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING

import pytest

from session_continuity import (
    ConfigError,
    MessageQuery,
    MessageTooLargeError,
    Patch,
    SessionFilter,
    SessionManager,
    StorageAdapter,
    StorageError,
    UnavailableError,
    UnreadableError,
    ValidationError,
    innermost,
    portable,
    run_now,
)
from session_continuity_sqlite import SqliteStorage
from session_continuity_sqlite.pool import LARGEST_IDLE_LOG, SQLITE_WAIT

from ..kit.conversations import Speaker, new_message, new_session, store_session, stored_contents, stored_messages
from ..kit.missing import skip_test
from .pools import pool_of

if TYPE_CHECKING:
    from .conftest import OpenStore

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


def test_a_missing_directory_is_named(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "no" / "chat.db", set_up=False)
    for call in (store.setup(), store.get_session("s"), store.create_session(new_session())):
        with pytest.raises(ConfigError, match=r"no directory .*/no; create it"):
            run_now(call)


def test_a_directory_in_place_of_the_file_is_named(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path, set_up=False)
    for call in (store.setup(), store.get_session("s")):
        with pytest.raises(ConfigError, match=r"is a directory; name a file in it"):
            run_now(call)


def test_a_file_that_is_no_database_is_refused_and_left_alone(open_store: OpenStore, database: Path) -> None:
    text = "Dear diary, this is not a database. " * 100
    database.write_text(text)
    store = open_store(set_up=False)
    for call in (store.setup(), store.get_session("s"), store.create_session(new_session())):
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


def test_a_damaged_table_is_an_error_and_never_a_wrong_answer(open_store: OpenStore, database: Path) -> None:
    store = open_store()
    store_session(store, 50)
    run_now(store.close())
    overwritten(database, "messages")
    store = open_store()
    with pytest.raises(StorageError, match=r"is damaged; restore a backup, or rescue it with .*\.recover"):
        stored_contents(store)
    with pytest.raises(StorageError, match="is damaged"):
        run_now(store.append_messages("s", [Speaker().says("more")]))
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.message_count == 50


DAMAGE = [
    "role = 'robot'",
    "created_at = 'soon'",
    "created_at = '2026-01-01'",
    "created_at = '2026-01-01T00:00:00.000+02:00'",
    "metadata = '{\"tool_calls\":'",
    "metadata = '{\"tool_calls\":[{}]}'",
    "body = '{}'",
    "body = 'null'",
    "body = substr(body, 1, 20)",
    "body = replace(body, '\"role\"', '\"roles\"')",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_message_is_left_out_of_pages_and_an_error_when_it_is_named(
    store: StorageAdapter, database: Path, damage: str
) -> None:
    before, damaged = store_session(store, 2)
    if damage.startswith(("body = replace", "body = substr")):
        content = [{"type": "text", "text": "of blocks"}]
        run_now(store.update_message("s", damaged.id, Patch(set={"content": content})))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute(f"UPDATE messages SET {damage} WHERE id = ?", (damaged.id,))
    with pytest.raises(UnreadableError, match=f"message '{damaged.id}' of session 's' cannot be read") as caught:
        run_now(store.get_message("s", damaged.id))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    for order in ("asc", "desc"):
        page = run_now(store.get_messages("s", MessageQuery(order=order)))
        assert (page.items, page.unreadable) == ((before,), (damaged.id,))
    assert run_now(store.delete_message("s", damaged.id))
    assert run_now(store.get_messages("s", MessageQuery())).unreadable == ()


def test_the_titles_of_an_older_file_are_found(store: StorageAdapter, database: Path, open_store: OpenStore) -> None:
    for title in ("Straße", "Köln", None):
        run_now(store.create_session(new_session(f"{title}", metadata={"title": title})))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("ALTER TABLE sessions DROP COLUMN title")
        other.execute("DROP INDEX sessions_by_user_activity")
        other.execute("PRAGMA user_version = 2")
    (found,) = run_now(open_store().list_sessions(SessionFilter(title="STRASSE"), limit=9))
    assert found.id == "Straße"


def test_pages_go_on_behind_a_damaged_row(store: StorageAdapter, database: Path) -> None:
    for number in range(5):
        run_now(store.create_session(new_session(f"s{number}")))
        run_now(store.append_messages("s0", [new_message(f"m{number}", session_id="s0")]))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("UPDATE messages SET body = '{' WHERE id IN ('m1', 'm2')")
        other.execute(
            "UPDATE session_bodies SET body = '{' WHERE session IN (SELECT key FROM sessions WHERE id IN ('s2', 's3'))"
        )
    sessions, cursor = [], None
    unreadable: list[str] = []
    while True:
        listed = run_now(store.list_sessions(SessionFilter(), limit=1, cursor=cursor))
        sessions += [session.id for session in listed]
        unreadable += listed.unreadable
        if (cursor := listed.next_cursor) is None:
            break
    assert (sessions, unreadable) == (["s4", "s1", "s0"], ["s3", "s2"])
    with SessionManager(store) as manager:
        page = manager.get_messages("s0", limit=None)
    assert ([message.id for message in page], page.unreadable) == (["m0", "m3", "m4"], ("m1", "m2"))


def test_a_damaged_session_is_left_out_of_listings_and_an_error_when_it_is_named(
    store: StorageAdapter, database: Path
) -> None:
    store_session(store, 3)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("UPDATE session_bodies SET body = ?", ('{"id": "secret"}',))
    with pytest.raises(UnreadableError, match="session 's' cannot be read") as caught:
        run_now(store.get_session("s"))
    assert "secret" not in "".join(format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    page = run_now(store.list_sessions(SessionFilter(), limit=1))
    assert (page.items, page.unreadable) == ((), ("s",))
    assert run_now(store.delete_session("s"))


def test_a_read_only_file_is_readable_and_refuses_writes(public: Path, open_store: OpenStore) -> None:
    database = public / "chat.db"
    store = open_store(database)
    store_session(store, 2)
    run_now(store.close())
    database.chmod(0o444)
    public.chmod(0o777)
    with unprivileged():
        store = open_store(database)
        assert stored_contents(store) == ["message 0", "message 1"]
        with pytest.raises(UnavailableError, match=r"cannot be written; make the file and its directory writable"):
            run_now(store.append_messages("s", [Speaker().says("more")]))
        health = run_now(store.health())
        assert health.status == "degraded"
        assert "writable" in str(health.remedy)
        assert stored_contents(store) == ["message 0", "message 1"]
        run_now(store.close())
    database.chmod(0o644)
    assert stored_contents(open_store(database)) == ["message 0", "message 1"]


def test_a_backup_that_may_not_be_written_is_readable(public: Path, open_store: OpenStore) -> None:
    path = public / "chat.db"
    store = open_store(path)
    store_session(store, 2)
    run_now(store.close())
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o444)
    with unprivileged():
        reader = open_store(path)
        assert len(stored_contents(reader)) == 2
        with pytest.raises(UnavailableError, match="cannot be written"):
            store_session(reader, 1)
        run_now(reader.close())


def test_a_read_only_directory_says_what_is_needed(public: Path, open_store: OpenStore) -> None:
    existing, missing = public / "chat.db", public / "new.db"
    store = open_store(existing)
    store_session(store, 2)
    run_now(store.close())
    public.chmod(0o555)
    with unprivileged():
        with pytest.raises(UnavailableError, match="give this process permission"):
            open_store(missing)
        with pytest.raises(UnavailableError, match=r"give this process permission|directory writable"):
            open_store(existing)
    public.chmod(0o755)
    assert stored_contents(open_store(existing)) == ["message 0", "message 1"]


def test_a_file_that_may_not_be_read_says_so(public: Path, open_store: OpenStore) -> None:
    database = public / "chat.db"
    run_now(open_store(database).close())
    database.chmod(0o600)
    with unprivileged():
        store = open_store(database, set_up=False)
        with pytest.raises(UnavailableError, match="give this process permission"):
            run_now(store.get_session("s"))
        assert run_now(store.health()).status == "unhealthy"


def test_a_locked_file_is_a_retryable_error_after_the_busy_timeout(open_store: OpenStore, database: Path) -> None:
    store = open_store(busy_timeout=0.05)
    said = store_session(store, 1)
    more = Speaker().says("more", id="chosen")
    with locked(database):
        with pytest.raises(UnavailableError, match=r"is locked: .* 0\.05 s; end that .* raise busy_timeout") as caught:
            run_now(store.append_messages("s", [more], client_ids=["chosen"]))
        assert caught.value.retryable
        assert run_now(store.get_message("s", said[0].id)) == said[0]
        assert run_now(store.health()).status == "degraded"
    assert stored_contents(store) == ["message 0"]
    run_now(store.append_messages("s", [more], client_ids=["chosen"]))
    assert stored_contents(store) == ["message 0", "more"]


def test_a_short_lock_is_waited_for(open_store: OpenStore, database: Path) -> None:
    store = open_store(busy_timeout=30)
    store_session(store, 0)
    waiting = threading.Event()
    with locked(database):
        writer = threading.Thread(
            target=lambda: (waiting.set(), run_now(store.append_messages("s", [Speaker().says("patient")])))
        )
        writer.start()
        assert waiting.wait(10)
        assert stored_contents(store) == []
    writer.join(30)
    assert stored_contents(store) == ["patient"]


def test_setup_waits_while_another_process_makes_the_file(open_store: OpenStore, database: Path) -> None:
    with locked(database, "EXCLUSIVE"):
        setup = threading.Thread(target=open_store, kwargs={"busy_timeout": 30})
        setup.start()
        setup.join(10 * SQLITE_WAIT)  # longer than SQLite waits by itself
        assert setup.is_alive()
    setup.join(30)
    assert run_now(open_store(set_up=False).health()).status == "healthy"


def test_a_new_file_that_another_locks_is_unavailable(open_store: OpenStore, database: Path) -> None:
    with locked(database, "EXCLUSIVE"), pytest.raises(UnavailableError, match="locked"):
        open_store(busy_timeout=0.05)
    assert run_now(open_store().health()).status == "healthy"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows over so many bytes: the system refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: StorageAdapter, speaker: Speaker) -> tuple[list[str], UnavailableError]:
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


def stored_ids(store: StorageAdapter) -> list[str]:
    return [message.id for message in stored_messages(store)]


def test_a_store_that_cannot_write_for_want_of_space_is_not_healthy(store: StorageAdapter, database: Path) -> None:
    store_session(store, 1)
    with largest_file(os.path.getsize(f"{database}-wal")):
        health = run_now(store.health())
    assert (health.status, health.details["writable"]) == ("degraded", False)
    assert "free space" in str(health.remedy)
    assert run_now(store.health()).status == "healthy"


def test_a_damaged_file_is_not_healthy(open_store: OpenStore, database: Path) -> None:
    store = open_store()
    store_session(store, 50)
    run_now(store.close())
    overwritten(database, "messages")
    health = run_now(open_store().health())
    assert health.status != "healthy"
    assert "restore a backup" in str(health.remedy)


def test_a_file_system_without_shared_memory_is_named_and_not_tried_again(
    open_store: OpenStore, database: Path
) -> None:
    raw = sqlite3.OperationalError("disk I/O error")
    raw.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMMAP
    error = innermost(open_store(set_up=False)).translate(raw, "setup")
    assert error is not None
    assert not error.retryable
    assert error.message == f"the file system of {database} has no shared memory; put the file on a local disk"


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_no_space_for_the_log_loses_nothing_acknowledged(
    open_store: OpenStore, database: Path, synchronous: str
) -> None:
    store, speaker = open_store(synchronous=synchronous), Speaker()
    run_now(store.create_session(new_session()))
    with largest_file(os.path.getsize(f"{database}-wal") + 500_000):
        acknowledged, error = fill(store, speaker)
        assert "free space" in error.message
        assert len(acknowledged) > 10
        assert stored_ids(store) == acknowledged
    again = speaker.says("there is space again")
    run_now(store.append_messages("s", [again]))
    run_now(store.close())
    assert stored_ids(open_store()) == [*acknowledged, again.id]


def test_a_full_disk_loses_nothing_acknowledged(store: StorageAdapter, open_store: OpenStore) -> None:
    speaker = Speaker()
    run_now(store.create_session(new_session()))
    pool_of(store).read(lambda connection: connection.execute("PRAGMA max_page_count = 60").fetchall())
    acknowledged, error = fill(store, speaker)
    assert "is full, or its quota is used up; free space and repeat the call; nothing was written" in error.message
    assert len(acknowledged) > 10
    assert stored_ids(store) == acknowledged
    session = run_now(store.get_session("s"))
    assert session is not None
    assert (session.message_count, session.token_count) == (len(acknowledged), len(acknowledged))
    run_now(store.delete_all_messages("s"))
    run_now(store.append_messages("s", [speaker.says("the space of deleted messages serves again")]))
    assert len(stored_ids(open_store())) == 1


def test_a_message_over_the_limit_of_a_row_is_refused_with_both_sizes(store: StorageAdapter) -> None:
    said = store_session(store, 1)
    limited = 100_000
    pool_of(store).read(lambda connection: connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limited))
    with pytest.raises(MessageTooLargeError) as caught:
        run_now(store.append_messages("s", [Speaker().says("é" * 60_000)]))
    assert caught.value.size >= 120_000
    assert caught.value.limit < limited
    with pytest.raises(MessageTooLargeError):
        run_now(store.update_message("s", said[0].id, Patch(set={"content": "x" * 100_000})))
    run_now(store.append_messages("s", [Speaker().says("é" * 40_000)]))
    assert len(stored_contents(store)) == 2


def test_totals_that_cannot_be_read_back_are_refused_whole(store: StorageAdapter) -> None:
    said = store_session(store, 1)
    speaker = Speaker()
    with pytest.raises(ValidationError, match=r"token_count would exceed 2\*\*53"):
        run_now(store.append_messages("s", [speaker.says("too much", token_count=2**53)]))
    with pytest.raises(ValidationError, match="too large to be stored"):
        run_now(store.append_messages("s", [speaker.says("far too much", token_count=2**53) for _ in range(1025)]))
    just_enough = speaker.says("just enough", token_count=2**53 - 1)
    run_now(store.append_messages("s", [just_enough]))
    assert run_now(store.append_messages("s", [just_enough])).repeated
    with pytest.raises(ValidationError, match=r"token_count would exceed 2\*\*53"):
        run_now(store.update_message("s", said[0].id, Patch(set={"token_count": 2})))
    session = run_now(store.get_session("s"))
    assert session is not None
    assert session.token_count == 2**53
    assert stored_contents(store) == ["message 0", "just enough"]


def test_text_that_is_not_utf8_is_refused(store: StorageAdapter) -> None:
    with pytest.raises(ValidationError, match="lone surrogate"):
        run_now(store.get_session("\ud800"))


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
class TestNewFiles:
    def test_a_new_file_and_its_log_are_for_their_owner_alone(self, tmp_path: Path) -> None:
        before = os.umask(0o022)
        try:
            store = portable(SqliteStorage(tmp_path / "chat.db"))
            run_now(store.setup())
            run_now(store.create_session(new_session()))
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {"chat.db": 0o600, "chat.db-wal": 0o600, "chat.db-shm": 0o600}
        run_now(store.close())

    def test_the_mode_of_a_file_that_is_there_stays(self, tmp_path: Path) -> None:
        (tmp_path / "chat.db").touch()
        (tmp_path / "chat.db").chmod(0o640)
        store = portable(SqliteStorage(tmp_path / "chat.db"))
        run_now(store.setup())
        assert stat.S_IMODE((tmp_path / "chat.db").stat().st_mode) == 0o640
        run_now(store.close())

    def test_nothing_is_created_through_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "chat.db").symlink_to(tmp_path / "elsewhere")
        store = portable(SqliteStorage(tmp_path / "chat.db"))
        with pytest.raises(ConfigError, match="is a link to a file that does not exist; remove it"):
            run_now(store.setup())
        assert not (tmp_path / "elsewhere").exists()

    def test_a_backup_moved_over_the_file_of_a_running_application_is_not_mixed_with_the_old_log(
        self, tmp_path: Path
    ) -> None:
        path, backup = tmp_path / "chat.db", tmp_path / "backup.db"
        store, other = portable(SqliteStorage(path)), portable(SqliteStorage(backup))
        run_now(other.setup())
        run_now(other.create_session(new_session("kept")))
        run_now(other.close())
        run_now(store.setup())
        for number in range(20):
            run_now(store.create_session(new_session(f"lost-{number}")))
        backup.replace(path)
        for _ in range(2):
            with pytest.raises(StorageError, match="the write-ahead log of the old one still lies beside it"):
                run_now(store.create_session(new_session("new")))
        for name in ("chat.db-wal", "chat.db-shm"):
            (tmp_path / name).unlink()
        run_now(store.create_session(new_session("new")))
        assert {session.id for session in run_now(store.list_sessions(SessionFilter(), limit=10))} == {"kept", "new"}
        run_now(store.close())
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_a_large_write_does_not_leave_the_log_large(self, tmp_path: Path) -> None:
        store = portable(SqliteStorage(tmp_path / "chat.db"))
        run_now(store.setup())
        run_now(store.create_session(new_session()))
        run_now(store.append_messages("s", [new_message(content="x" * 12_000_000)]))
        for number in range(3):
            run_now(store.append_messages("s", [new_message(f"m{number}")]))
        assert (tmp_path / "chat.db-wal").stat().st_size <= LARGEST_IDLE_LOG
        run_now(store.close())


def in_mount_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may mount file systems, which only it sees."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["sudo", "-n", "unshare", "-m"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        skip_test("mounts need root, or sudo without a password")
    return subprocess.run([*unshare, *command], capture_output=True, text=True)


def test_a_read_only_file_system_is_named_and_can_be_read(tmp_path: Path) -> None:
    program = Path(__file__).parent / "programs/read_only.py"
    done = in_mount_namespace(sys.executable, str(program), str(tmp_path))
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert (answers["open"], answers["read"]) == (1, 1)
    for refused in ("open a missing file", "write"):
        kind, retryable, text = answers[refused]
        assert (kind, retryable) == ("StorageError", False)
        assert "is read-only; mount it writable" in text
    status, remedy = answers["health"]
    assert status == "degraded"
    assert "is read-only; mount it writable" in remedy
