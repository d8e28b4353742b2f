"""A wire that fails on request: it lies between a client and an engine, on loopback."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Body = dict[str, Any]

_JSON = {"Content-Type": "application/x-amz-json-1.0"}


@dataclass
class Call:
    """One request on its way, and what may be done with it."""

    api: str
    body: bytes
    send: Callable[[bytes], tuple[int, dict[str, str], bytes]]

    def forward(self, params: Body | None = None) -> tuple[int, dict[str, str], bytes]:
        """The engine's answer to this request, or to another one in its place."""
        return self.send(self.body if params is None else json.dumps(params).encode())

    @property
    def params(self) -> Body:
        found: Body = json.loads(self.body)
        return found


class LoseReplyError(Exception):
    """The connection is to end without a reply."""


Rule = Callable[[Call], tuple[int, dict[str, str], bytes]]


class Proxy:
    """`rules` maps an operation to what to do with its next calls, one rule for each; without one it is forwarded."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).netloc
        self.rules: dict[str, list[Rule]] = {}
        self.seen: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def handle(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.seen.append(call.api)
            waiting = self.rules.get(call.api)
            rule = waiting.pop(0) if waiting else None
        return rule(call) if rule else call.forward()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api = self.headers["X-Amz-Target"].partition(".")[2]
                try:
                    status, headers, answer = proxy.handle(Call(api, body, partial(proxy.forward, self.headers)))
                except LoseReplyError:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: the tests' output is not a log."""

        return Handler

    def forward(self, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            dropped = ("host", "connection", "content-length")
            kept = {name: value for name, value in headers.items() if name.lower() not in dropped}
            connection.request("POST", "/", body, kept)
            answer = connection.getresponse()
            content = answer.read()
            passed = {
                name: value for name, value in answer.getheaders() if name.lower().startswith(("x-amz", "content-type"))
            }
            return answer.status, passed, content
        finally:
            connection.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def between(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def lose(call: Call) -> tuple[int, dict[str, str], bytes]:
    """Let the engine apply the request, and lose its reply."""
    call.forward()
    raise LoseReplyError


def refuse(code: str, status: int = 400, **more: Any) -> Rule:
    """Answer with a service error, without asking the engine."""

    def rule(_: Call) -> tuple[int, dict[str, str], bytes]:
        answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "refused by the test", **more}
        return status, _JSON, json.dumps(answer).encode()

    return rule


def hold_back(count: int) -> Rule:
    """Forward a batch of writes but the last `count` of them, which come back as unprocessed."""

    def rule(call: Call) -> tuple[int, dict[str, str], bytes]:
        [(table, writes)] = call.params["RequestItems"].items()
        if writes[:-count]:
            call.forward({"RequestItems": {table: writes[:-count]}})
        return 200, _JSON, json.dumps({"UnprocessedItems": {table: writes[-count:]}}).encode()

    return rule


def leave_unread(call: Call) -> tuple[int, dict[str, str], bytes]:
    """Read nothing of a batch: all of its keys come back as unprocessed."""
    [table] = call.params["RequestItems"]
    answer = {"Responses": {table: []}, "UnprocessedKeys": call.params["RequestItems"]}
    return 200, _JSON, json.dumps(answer).encode()
