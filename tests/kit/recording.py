"""A wrapper that records the calls of a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from session_continuity import ConversationPage, ForwardingAdapter, Message, MessageQuery, Page, StorageAdapter

P = ParamSpec("P")
R = TypeVar("R")


class RecordingAdapter(ForwardingAdapter):
    """Records the name of each call in `calls`, and counts the messages that were read.

    `before` and `after` map the name of a method to a coroutine function that runs before or after each of its calls,
    with the same arguments. A test changes the store there, as another process would.
    """

    def __init__(self, inner: StorageAdapter) -> None:
        super().__init__(inner)
        self.calls: list[str] = []
        self.messages_read = 0
        self.before: dict[str, Callable[..., Awaitable[None]]] = {}
        self.after: dict[str, Callable[..., Awaitable[None]]] = {}

    def calls_during(self, function: Callable[[], object]) -> list[str]:
        """Call the function, and return the names of the calls that it made."""
        start = len(self.calls)
        function()
        return self.calls[start:]

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.calls.append(method.__name__)
        if method.__name__ in self.before:
            await self.before[method.__name__](*args, **kwargs)
        result = await super().forward(method, *args, **kwargs)
        if method.__name__ in self.after:
            await self.after[method.__name__](*args, **kwargs)
        return result

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = await super().get_messages(session_id, query, cursor=cursor)
        self.messages_read += len(page)
        return page

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        page = await super().get_conversation(session_id, query)
        self.messages_read += len(page.messages) + len(page.system_messages)
        return page
