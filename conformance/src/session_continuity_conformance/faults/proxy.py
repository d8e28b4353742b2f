"""A TCP proxy on loopback that breaks connections between a client and its server.

It works for any protocol. What a client sends first, or after it received something, is a request. What comes back is
the reply. So a connection must carry one request at a time, and must not be encrypted.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Literal, Self

Fault = Literal["cut off", "lose the reply", "hang up", "stall"]
"""`cut off`: half of the request reaches the server, then the stream ends there, and the client's is reset. In all
others the server gets the request whole, and in place of its reply the client gets: a reset, an end of the stream, or
nothing at all."""

CHUNK = 1 << 16
_TLS = b"\x16\x03"
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Pair:
    """Both ends of a connection, and the fault that its current request meets."""

    near: socket.socket
    far: socket.socket
    answered: bool = True
    fault: Fault | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Proxy:
    """Listens on `host` and `port`, and forwards to an address. A context manager."""

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self.requests = 0
        self.encrypted = False
        self.overrun = False
        self._target = (host, port)
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._planned: Fault | None = None
        self._pass = 0
        self._away = False
        self._patience = 0.0
        self._struck = False
        self._meanwhile: Callable[[], object] | None = None
        self._watch = threading.Timer(0, lambda: None)
        self._reserved = _reserve(self.host)
        self.port: int = self._reserved.getsockname()[1]
        self._listener = _Listener(self, self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(
        self,
        fault: Fault,
        *,
        after: int = 0,
        away: bool = False,
        patience: float = 30.0,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Let so many requests through, and let the next one meet this fault. With `away`, refuse connections from then
        on.

        `meanwhile` is called in a thread of the proxy when the server has done the request, before the client notices
        that its reply is lost. A stalled request that is still there after `patience` seconds is cut, and `overrun` is
        set.
        """
        with self._lock:
            self._planned, self._pass, self._away, self._patience = fault, after, away, patience
            self._meanwhile = meanwhile
            self._struck = self.overrun = False

    def unplan(self) -> bool:
        """Drop the plan. Returns whether a request met the fault."""
        with self._lock:
            self._planned = None
            self._watch.cancel()
            return self._struck

    def cut(self) -> None:
        """Reset every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _reset(pair.near, pair.far)

    def refuse(self) -> None:
        """Reset every connection, and accept no new ones until `accept`."""
        self._listener.stop()
        self.cut()

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._listener.stop()
        self._listener = _Listener(self, self.port)

    def close(self) -> None:
        """Stop listening, and end every connection."""
        self._listener.stop()
        self._reserved.close()
        self.unplan()
        self.cut()

    def serve(self, near: socket.socket) -> None:
        """Forward one connection until it ends."""
        far = self._reach()
        if far is None:
            _reset(near)
            return
        for end in (near, far):
            with suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(near, far)
        with far, self._kept(pair):
            replies = threading.Thread(target=self._carry_replies, args=(pair,), daemon=True)
            replies.start()
            self._carry_requests(pair)
            replies.join()

    def _reach(self) -> socket.socket | None:
        try:
            return socket.create_connection(self._target)
        except OSError:
            return None

    @contextmanager
    def _kept(self, pair: _Pair) -> Generator[None]:
        with self._lock:
            self._pairs.append(pair)
        try:
            yield
        finally:
            with self._lock:
                self._pairs.remove(pair)

    def _carry_requests(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.near.recv(CHUNK):
                if self._begins(pair, data):
                    pair.fault = self._meets()
                if pair.fault == "cut off":
                    pair.far.sendall(data[: len(data) // 2])
                    self._strike(pair)
                    break
                pair.far.sendall(data)
        _end(pair.far)

    def _carry_replies(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.far.recv(CHUNK):
                pair.answered = True
                if pair.fault is not None:
                    self._strike(pair)
                else:
                    pair.near.sendall(data)
        _end(pair.near)

    def _begins(self, pair: _Pair, data: bytes) -> bool:
        """Whether this is the beginning of a request."""
        with pair.lock:
            begins, pair.answered = pair.answered, False
        if begins:
            self.encrypted = self.encrypted or data.startswith(_TLS)
            with self._lock:
                self.requests += 1
        return begins

    def _meets(self) -> Fault | None:
        with self._lock:
            if self._planned is None:
                return None
            if self._pass:
                self._pass -= 1
                return None
            fault, self._planned = self._planned, None
            return fault

    def _strike(self, pair: _Pair) -> None:
        with self._lock:
            self._struck = True
            meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if self._away:
            self._listener.stop()
        if pair.fault == "hang up":
            with suppress(OSError):
                pair.near.shutdown(socket.SHUT_WR)
        elif pair.fault == "stall":
            self._watch = threading.Timer(self._patience, self._lose_patience, (pair,))
            self._watch.start()
        else:
            _reset(pair.near)

    def _lose_patience(self, pair: _Pair) -> None:
        with self._lock:
            waited = pair in self._pairs
        if waited:
            self.overrun = True
            _reset(pair.near, pair.far)


class _Listener(ThreadingTCPServer):
    """Accepts connections, each in a thread, until it is stopped."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    allow_reuse_port = True

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        super().__init__((proxy.host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. May be called again."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Listener)
        server.proxy.serve(self.request)


def _reserve(host: str) -> socket.socket:
    """A socket that is bound to a free port and does not listen.

    Connections to the port are refused. While the proxy is away, nobody else gets the port.
    """
    reserved = socket.socket()
    for option in ("SO_REUSEADDR", "SO_REUSEPORT"):
        if hasattr(socket, option):
            reserved.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    reserved.bind((host, 0))
    return reserved


def _reset(*ends: socket.socket) -> None:
    """End connections with a reset, and wake the threads that read from them."""
    for end in ends:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.shutdown(socket.SHUT_RD)
        end.close()


def _end(end: socket.socket) -> None:
    """Send the end of the stream to the other side."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_WR)
