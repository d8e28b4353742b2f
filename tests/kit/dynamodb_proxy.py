"""A proxy in front of a DynamoDB engine that answers chosen requests by a test's rules."""

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
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

_JSON = {"Content-Type": "application/x-amz-json-1.0"}


@dataclass
class Call:
    """One request that has reached the proxy. `api` is its operation, such as "PutItem"."""

    api: str
    body: bytes
    send: Callable[[bytes], Answer]

    def forward(self, params: Body | None = None) -> Answer:
        """The engine's answer to this request, or to one with other parameters."""
        return self.send(self.body if params is None else json.dumps(params).encode())

    @property
    def params(self) -> Body:
        """The parameters of the request."""
        params: Body = json.loads(self.body)
        return params


class LoseReplyError(Exception):
    """Raised by a rule to close the connection instead of replying."""


Rule = Callable[[Call], Answer]
"""Answers a request in place of the engine, which it may ask with `Call.forward`."""


class DynamoDBProxy:
    """`rules` maps an operation to the rules for its next requests, one each. A request without a rule is forwarded.

    `seen` lists the operations of all requests.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).netloc
        self.rules: dict[str, list[Rule]] = {}
        self.seen: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def handle(self, call: Call) -> Answer:
        """The answer to one request. A test may replace this method to see all of them."""
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
                    status, headers, answer = proxy.handle(Call(api, body, partial(proxy._forward, self.headers)))
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
                """No log: standard error belongs to the test run."""

        return Handler

    def _forward(self, headers: Any, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            own = ("host", "connection", "content-length")  # those of this connection, which http.client sets
            forwarded = {name: value for name, value in headers.items() if name.lower() not in own}
            connection.request("POST", "/", body, forwarded)
            answer = connection.getresponse()
            content = answer.read()
            passed = {
                name: value for name, value in answer.getheaders() if name.lower().startswith(("x-amz", "content-type"))
            }
            return answer.status, passed, content
        finally:
            connection.close()

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def proxy_to(url: str) -> Iterator[DynamoDBProxy]:
    """A proxy in front of the engine at a URL, stopped at the end."""
    proxy = DynamoDBProxy(url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def lose_reply(call: Call) -> Answer:
    """A rule: the engine applies the request, and its reply is lost."""
    call.forward()
    raise LoseReplyError


def refuse(code: str, status: int = 400, **more: Any) -> Rule:
    """A rule: the request fails with this service error and does not reach the engine."""

    def rule(_: Call) -> Answer:
        answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "refused by the test", **more}
        return status, _JSON, json.dumps(answer).encode()

    return rule


def hold_back(count: int) -> Rule:
    """A rule: the last `count` writes of a batch come back as unprocessed; the engine applies the others."""

    def rule(call: Call) -> Answer:
        [(table, writes)] = call.params["RequestItems"].items()
        if writes[:-count]:
            call.forward({"RequestItems": {table: writes[:-count]}})
        return 200, _JSON, json.dumps({"UnprocessedItems": {table: writes[-count:]}}).encode()

    return rule


def leave_unread(call: Call) -> Answer:
    """A rule: nothing of a batch is read; all of its keys come back as unprocessed."""
    [table] = call.params["RequestItems"]
    answer = {"Responses": {table: []}, "UnprocessedKeys": call.params["RequestItems"]}
    return 200, _JSON, json.dumps(answer).encode()


def read_apart(act: Callable[[], Any] = lambda: None, *, first: Callable[[Body], bool] | None = None) -> Rule:
    """A rule: the items of a batch are read one by one, as the service may do, and `act` is called behind the first.

    `first` selects the key to begin with. Without it the order is the batch's.
    """

    def rule(call: Call) -> Answer:
        [(table, wanted)] = call.params["RequestItems"].items()
        keys = sorted(wanted["Keys"], key=lambda key: first is None or not first(key))
        items: list[Body] = []
        for number, key in enumerate(keys):
            if number == 1:
                act()
            status, headers, body = call.forward({"RequestItems": {table: {**wanted, "Keys": [key]}}})
            if status != 200:
                return status, headers, body
            items += json.loads(body)["Responses"][table]
        return 200, _JSON, json.dumps({"Responses": {table: items}, "UnprocessedKeys": {}}).encode()

    return rule


class Pause:
    """Two rules that hold one request, before or after the engine applies it, until the test calls `release`."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released = threading.Event()

    def before(self, call: Call) -> Answer:
        """A rule: the engine gets the request when the test releases it."""
        self._hold()
        return call.forward()

    def after(self, call: Call) -> Answer:
        """A rule: the engine applies the request, and its reply is sent when the test releases it."""
        answer = call.forward()
        self._hold()
        return answer

    def wait(self) -> None:
        """Wait until the request is held."""
        assert self._reached.wait(30)

    def release(self) -> None:
        """Let the request go on."""
        self._released.set()

    def _hold(self) -> None:
        self._reached.set()
        assert self._released.wait(30)
