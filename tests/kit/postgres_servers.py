"""Real PostgreSQL servers and PgBouncer, found on this machine and started on free loopback ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from .ports import free_port
from .waiting import wait_until

NEEDED = "no PostgreSQL server is installed: install the package postgresql of your distribution (Debian, Ubuntu)"
BOUNCER_NEEDED = "no pgbouncer is on PATH: install the package pgbouncer of your distribution"
_DEBIAN = Path("/usr/lib/postgresql")
_USERS = ("postgres", "nobody")
_SETTINGS = {"fsync": "off", "max_connections": "300", "listen_addresses": "127.0.0.1", "shared_buffers": "64MB"}


class MissingServerError(Exception):
    """A program is not installed. The message says how to install it."""


def find_programs() -> Path:
    """The folder with initdb and postgres, of the newest version that is installed. Raises MissingServerError."""
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    if (found := shutil.which("initdb")) is not None:
        return Path(os.path.realpath(found)).parent
    raise MissingServerError(NEEDED)


def _account() -> dict[str, str]:
    """The user that runs the server: this one, or another where this one is root, which PostgreSQL refuses."""
    if os.getuid() != 0:
        return {}
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in _USERS if name in names)
    return {"user": user}


class PostgresServer:
    """One server process with a new, empty cluster in a folder of its own. Everybody is trusted as `postgres`.

    `settings` are further settings of the server. `stop` removes the folder.
    """

    def __init__(self, *, encoding: str = "UTF8", port: int | None = None, **settings: str) -> None:
        self.port = port or free_port()
        self._programs = find_programs()
        self._settings = {**_SETTINGS, **settings}
        self._account = _account()
        # Another user cannot enter a folder below one of root alone.
        self.folder = Path(mkdtemp(prefix="sc-postgres-", dir="/tmp" if self._account else None))
        self.data = self.folder / "data"
        if self._account:
            shutil.chown(self.folder, self._account["user"])
        self._encoding = encoding
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The storage URL of the server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> PostgresServer:
        """Start the process and wait until it answers. Makes the cluster if there is none."""
        if not self.data.exists():
            locale = ["--locale=C", f"--encoding={self._encoding}"]
            self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", *locale)
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                **self._account,  # type: ignore[arg-type]  # of which there is one key
            )
        wait_until(self.answers, f"the server on port {self.port}", seconds=90)
        return self

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as its user. Raises AssertionError with its output if it fails."""
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._account,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"

    def answers(self) -> bool:
        """Whether the server answers. Raises AssertionError with its log if the process has ended."""
        try:
            with self.client():
                return True
        except psycopg.OperationalError:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()
            return False

    def client(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A new connection in autocommit mode, which the caller closes."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=10
        )

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of the last of these statements."""
        with self.client(database) as connection:
            rows: list[tuple[object, ...]] = []
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    def kill(self) -> None:
        """End the server as a crash of the machine would: the process, and with it all that it started."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        self._process.wait(20)
        self._process = None

    def halt(self) -> None:
        """End the server in order, and keep its data."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown, which does not wait for clients
            self._process.wait(60)
            self._process = None

    def stop(self) -> None:
        """End the server and remove its data."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A server that runs meanwhile. Raises MissingServerError."""
    server = PostgresServer(**settings)
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[str]:
    """The storage URL of a PgBouncer before the server, which gives each transaction to another server connection.

    Raises MissingServerError.
    """
    program = shutil.which("pgbouncer")
    if program is None:
        raise MissingServerError(BOUNCER_NEEDED)
    port, folder = free_port(), server.folder / "pgbouncer"
    folder.mkdir()
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "settings").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nauth_type=trust\nauth_file={folder}/users\npool_mode=transaction\n"
        f"default_pool_size=4\nmax_client_conn=2000\nunix_socket_dir=\nserver_round_robin=1\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "settings")],
            stdout=log,
            stderr=log,
            **_account(),  # type: ignore[arg-type]
        )
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(url, connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(answers, "PgBouncer", seconds=60)
        yield url
    finally:
        process.terminate()
        process.wait(30)
