"""The proxy breaks connections as planned, as seen by a client and its server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from session_continuity_conformance.faults.proxy import Fault, Proxy

from ..kit.waiting import wait_until


class Echo(ThreadingTCPServer):
    """Sends each line back, and records the lines."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Echo)
        try:
            while line := self.rfile.readline():
                server.got.append(line)
                self.wfile.write(line)
        except OSError:
            return


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.server_address[1]) as between:
        yield between


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as connection:
        yield connection


def ask(client: socket.socket, text: bytes = b"question\n") -> bytes:
    client.sendall(text)
    return client.recv(100)


def test_what_is_not_planned_passes_and_is_counted(proxy: Proxy, client: socket.socket) -> None:
    assert ask(client) == b"question\n"
    assert ask(client, b"another\n") == b"another\n"
    assert proxy.requests == 2
    assert not proxy.encrypted


def test_request_that_comes_in_pieces_is_one(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    client.sendall(b"quest")
    wait_until(lambda: proxy.requests, "the request to arrive")
    assert ask(client, b"ion\n") == b"question\n"
    assert (proxy.requests, echo.got) == (1, [b"question\n"])


def test_cut_off_request_reaches_the_server_in_half(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.plan("cut off")
    with pytest.raises(ConnectionResetError):
        ask(client)
    wait_until(lambda: echo.got, "the server to get the request")
    assert echo.got == [b"ques"]
    assert proxy.unplan()


def test_lost_reply_was_sent(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.plan("lose the reply")
    with pytest.raises(ConnectionResetError):
        ask(client)
    assert echo.got == [b"question\n"]
    assert proxy.unplan()


def test_hang_up_is_the_end_of_the_stream(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.plan("hang up")
    assert ask(client) == b""
    assert echo.got == [b"question\n"]
    assert proxy.unplan()


def test_stalled_call_waits_until_its_client_gives_up(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.plan("stall", patience=30)
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        ask(client)
    wait_until(lambda: echo.got, "the server to get the request")
    wait_until(proxy.unplan, "the fault to strike")
    assert echo.got == [b"question\n"]
    assert not proxy.overrun


def test_client_that_does_not_give_up_is_cut_off_in_the_end(proxy: Proxy, client: socket.socket) -> None:
    proxy.plan("stall", patience=0.1)
    assert is_cut_off(client)
    assert proxy.overrun


def is_cut_off(client: socket.socket) -> bool:
    """Whether the connection ends without a reply."""
    try:
        return ask(client) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("fault", ["cut off", "lose the reply"])
def test_fault_strikes_the_request_that_was_chosen(proxy: Proxy, client: socket.socket, fault: Fault) -> None:
    proxy.plan(fault, after=1)
    assert ask(client) == b"question\n"
    with pytest.raises(ConnectionResetError):
        ask(client)
    assert proxy.unplan()


def test_fault_that_nothing_met_is_told(proxy: Proxy, client: socket.socket) -> None:
    proxy.plan("cut off", after=1)
    ask(client)
    assert not proxy.unplan()
    assert ask(client) == b"question\n"


def test_server_that_is_away_resets_old_connections_and_refuses_new_ones(proxy: Proxy, client: socket.socket) -> None:
    ask(client)
    proxy.refuse()
    with pytest.raises(OSError, match=r"reset|Broken pipe|abort"):
        ask(client)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port))
    proxy.accept()
    with socket.create_connection((proxy.host, proxy.port)) as another:
        assert ask(another) == b"question\n"


def test_server_is_away_from_a_fault_on(proxy: Proxy, client: socket.socket) -> None:
    proxy.plan("lose the reply", away=True)
    with pytest.raises(ConnectionResetError):
        ask(client)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port))
    proxy.accept()
    with socket.create_connection((proxy.host, proxy.port)) as another:
        assert ask(another) == b"question\n"


def test_port_of_a_server_that_is_away_is_not_given_to_others(proxy: Proxy) -> None:
    proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((proxy.host, proxy.port))
    proxy.accept()
    with socket.create_connection((proxy.host, proxy.port)):
        """Accepted."""


def test_server_that_does_not_exist_is_away() -> None:
    # The reset may be there before the client has seen that it is connected.
    with (
        Proxy("127.0.0.1", 1) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection((proxy.host, proxy.port), timeout=5) as client,
    ):
        client.recv(1)


def test_encryption_is_noticed(proxy: Proxy, client: socket.socket) -> None:
    ask(client, b"\x16\x03\x01\n")
    assert proxy.encrypted


def test_closed_proxy_leaves_no_thread(echo: Echo) -> None:
    before = threading.active_count()
    with Proxy("127.0.0.1", echo.server_address[1]) as proxy:
        client = socket.create_connection((proxy.host, proxy.port))
        ask(client)
    client.close()
    wait_until(lambda: threading.active_count() <= before, "the threads of the proxy to end")
