"""The reference behind a socket, for testing the suite's faults of connections.

A request is the number of a function that waits in this process. The server runs it, and sends the number back.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar, TypeVar

from session_continuity import HealthStatus, StorageClosedError, UnavailableError
from session_continuity_conformance.faults.endpoints import Endpoint
from session_continuity_conformance.reference.model import Model
from session_continuity_conformance.reference.storage import ReferenceStorage, ReferenceTarget, World
from session_continuity_conformance.target import Target

T = TypeVar("T")

PATIENCE = 12.0


class WorkQueue:
    """Functions that are run by number, and their results."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], Any]] = []
        self._done: dict[int, tuple[Any, Exception | None]] = {}

    def put(self, work: Callable[[], Any]) -> int:
        """Add a function, and return its number."""
        with self._lock:
            self._waiting.append(work)
            return len(self._waiting) - 1

    def run(self, number: int) -> None:
        """Run a function."""
        try:
            self._done[number] = self._waiting[number](), None
        except Exception as error:
            self._done[number] = None, error

    def result(self, number: int) -> Any:
        """The result of a function, or its error."""
        result, error = self._done[number]
        if error is not None:
            raise error
        return result


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, queue: WorkQueue) -> None:
        self.queue = queue
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address: tuple[str, int] = ("127.0.0.1", self.server_address[1])


class _Handler(StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        try:
            while (line := self.rfile.readline()).endswith(b"\n"):
                server.queue.run(int(line))
                self.wfile.write(line)
        except OSError:
            return


class NetworkedWorld(World):
    """A world whose adapters reach it through the server at `address`."""

    def __init__(self, queue: WorkQueue, address: tuple[str, int]) -> None:
        super().__init__()
        self.queue = queue
        self.address = address

    def at(self, host: str, port: int) -> NetworkedWorld:
        """The same world at another address."""
        moved = copy(self)
        moved.address = (host, port)
        return moved


class NetworkedStorage(ReferenceStorage):
    """Uses one connection for one call at a time, and closes it when it breaks. It never repeats a request."""

    timeout: ClassVar[float | None] = 2.0
    world: NetworkedWorld

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._alone = threading.Lock()
        self._connection: socket.socket | None = None

    def work(self, operation: str, action: Callable[[Model], T]) -> T:
        if self.closed:
            raise StorageClosedError(backend=self.backend, operation=operation)
        number = self.world.queue.put(lambda: super(NetworkedStorage, self).work(operation, action))
        with self._alone:
            self.ask(operation, number)
        result: T = self.world.queue.result(number)
        return result

    def ask(self, operation: str, number: int) -> None:
        """Let the server run a function."""
        try:
            self.exchange(number)
        except OSError as error:
            self.hang_up()
            raise UnavailableError(
                "the connection broke; repeat the call", backend=self.backend, operation=operation
            ) from error
        except BaseException:  # interrupted: the reply may still come, and belongs to no other call
            self.hang_up()
            raise

    def exchange(self, number: int) -> None:
        """Send a request, and receive its reply. Raises OSError."""
        if self._connection is None:
            self._connection = socket.create_connection(self.world.address, self.timeout)
        self._connection.sendall(b"%08d\n" % number)
        if not self._connection.recv(100):
            raise ConnectionError("the server hung up")

    def hang_up(self) -> None:
        """Close the connection. The next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        await super().close()
        self.hang_up()

    async def health(self) -> HealthStatus:
        try:
            return await super().health()
        except UnavailableError:
            return HealthStatus(status="unhealthy", remedy="start the server")


class NetworkedTarget(ReferenceTarget):
    """The reference behind its server."""

    def endpoint(self) -> Endpoint[Target]:
        world = self.world
        assert isinstance(world, NetworkedWorld)

        def through(host: str, port: int) -> NetworkedTarget:
            return replace(self, world=world.at(host, port))

        return Endpoint(*world.address, through, PATIENCE)


@contextmanager
def networked(storage: type[NetworkedStorage] = NetworkedStorage) -> Generator[NetworkedTarget]:
    """A store of this class, with its own server."""
    queue = WorkQueue()
    with _Server(queue) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield NetworkedTarget(storage, world=NetworkedWorld(queue, server.address))
        finally:
            server.shutdown()
            thread.join()
