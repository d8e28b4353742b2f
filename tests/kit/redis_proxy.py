"""A proxy in front of a Redis server, which counts requests and breaks connections."""

from __future__ import annotations

from collections.abc import Callable

from session_continuity_conformance.faults.proxy import Proxy


class RedisProxy(Proxy):
    """The conformance suite's TCP proxy, in front of the server on a loopback port."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)

    @property
    def url(self) -> str:
        """The storage URL that leads through the proxy."""
        return f"redis://{self.host}:{self.port}"

    def swallow_next_reply(self, meanwhile: Callable[[], object] | None = None, *, after: int = 0) -> None:
        """Forward the next request, and cut the connection instead of returning its reply.

        `after` lets so many requests pass before. `meanwhile` is called between the two, as somebody else who acts
        before the client can send its request again.
        """
        self.plan("lose the reply", after=after, meanwhile=meanwhile)
