"""Builders of sessions and messages, and readers of what a store holds.

`new_session`, `new_message` and `Speaker` build the models that an adapter takes. `said`, `asked`, `answered` and
`system` build the dictionaries that a manager takes as messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from session_continuity import Message, MessageQuery, Role, Session, StorageAdapter, run_now
from session_continuity.ids import MessageIds

from .clocks import START, TickingClock

REPLY = 3
"""The tokens of the frame around a model's reply. A context that has messages counts them."""

EVERYTHING = MessageQuery(limit=1000)
"""A query for all messages of a session, oldest first, in pages as large as the contract allows."""


def new_session(session_id: str = "s", *, now: datetime = START, **fields: Any) -> Session:
    """A session created at `now`."""
    return Session(**{"id": session_id, "created_at": now, "last_activity_at": now, **fields})


def new_message(message_id: str = "m", *, session_id: str = "s", now: datetime = START, **fields: Any) -> Message:
    """A user's message created at `now`, for tests that choose the id themselves."""
    stated = {"id": message_id, "role": "user", "content": "hello", "created_at": now, **fields}
    return Message(session_id=session_id, **stated)


class Speaker:
    """Builds messages whose ids and times follow each other, for one session unless a message names another."""

    def __init__(self, session_id: str = "s", *, clock: Callable[[], datetime] | None = None) -> None:
        self._session_id = session_id
        self._ids = MessageIds(clock or TickingClock())

    def says(
        self, content: Any = "hello", *, role: Role = "user", session_id: str | None = None, **fields: Any
    ) -> Message:
        """The next message: of one token, with a new id and time, unless `fields` state others."""
        message_id, created_at = self._ids.mint()
        stated = {"id": message_id, "created_at": created_at, "token_count": 1, **fields}
        return Message(session_id=session_id or self._session_id, role=role, content=content, **stated)


async def read_messages(
    adapter: StorageAdapter, session_id: str = "s", query: MessageQuery = EVERYTHING
) -> list[Message]:
    """All messages of a session that a query selects, page after page."""
    found: list[Message] = []
    cursor = None
    while True:
        page = await adapter.get_messages(session_id, query, cursor=cursor)
        found.extend(page)
        cursor = page.next_cursor
        if cursor is None:
            return found


def stored_messages(store: StorageAdapter, session_id: str = "s", query: MessageQuery = EVERYTHING) -> list[Message]:
    """The same for a store in blocking mode."""
    return run_now(read_messages(store, session_id, query))


def stored_contents(store: StorageAdapter, session_id: str = "s", query: MessageQuery = EVERYTHING) -> list[Any]:
    """The contents of the same messages, from a store in blocking mode."""
    return contents(stored_messages(store, session_id, query))


def store_session(store: StorageAdapter, count: int, session_id: str = "s") -> list[Message]:
    """Create a session with so many messages in a store in blocking mode, and return the messages.

    Message `n` says "message n" and is appended by itself.
    """
    speaker = Speaker(session_id)
    run_now(store.create_session(new_session(session_id)))
    messages = [speaker.says(f"message {number}") for number in range(count)]
    for message in messages:
        run_now(store.append_messages(session_id, [message]))
    return messages


def contents(messages: Iterable[Message]) -> list[Any]:
    """The content of each message."""
    return [message.content for message in messages]


def said(
    text: str, *, role: str = "user", calls: Iterable[str] = (), results: Iterable[str] = (), tokens: int = 1
) -> dict[str, Any]:
    """A message of so many tokens, with tool calls and tool results of these ids."""
    metadata = {
        "tool_calls": [{"id": call, "name": "f", "arguments": "{}"} for call in calls],
        "tool_results": [{"tool_call_id": result, "result": "r"} for result in results],
    }
    return {"role": role, "content": text, "metadata": metadata, "token_count": tokens}


def asked(*calls: str, tokens: int = 1) -> dict[str, Any]:
    """The assistant's message that makes these tool calls."""
    return said("call " + " ".join(calls), role="assistant", calls=calls, tokens=tokens)


def answered(*results: str, tokens: int = 1) -> dict[str, Any]:
    """The tool's message with the results of these calls."""
    return said("result " + " ".join(results), role="tool", results=results, tokens=tokens)


def system(text: str = "rule", tokens: int = 1) -> dict[str, Any]:
    """A system message."""
    return said(text, role="system", tokens=tokens)
