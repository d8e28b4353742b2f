"""Sessions and messages to test with, and short ways to use a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from session_continuity import Message, MessageQuery, Role, Session, StorageAdapter, run_now
from session_continuity.ids import MessageIds

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = MessageQuery(limit=1000)


def a_session(session_id: str = "s", **fields: Any) -> Session:
    return Session.model_validate({"id": session_id, "created_at": START, "last_activity_at": START, **fields})


class Speaker:
    """Makes messages for a session, one millisecond apart."""

    def __init__(self, session_id: str = "s", start: datetime = START) -> None:
        self._session_id = session_id
        self._now = start
        self._ids = MessageIds(self._tick)

    def _tick(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def says(self, content: str, *, role: Role = "user", tokens: int | None = 1, id: str | None = None) -> Message:
        minted, created_at = self._ids.mint()
        return Message(
            id=id or minted,
            session_id=self._session_id,
            role=role,
            content=content,
            token_count=tokens,
            created_at=created_at,
        )


def contents(store: StorageAdapter, session_id: str = "s", query: MessageQuery = EVERYTHING) -> list[Any]:
    """What the messages of a session say, page after page, in the query's order."""
    return [message.content for message in messages(store, session_id, query)]


def messages(store: StorageAdapter, session_id: str = "s", query: MessageQuery = EVERYTHING) -> list[Message]:
    found: list[Message] = []
    cursor = None
    while True:
        page = run_now(store.get_messages(session_id, query, cursor=cursor))
        found.extend(page)
        cursor = page.next_cursor
        if cursor is None:
            return found


def talk(store: StorageAdapter, count: int, session_id: str = "s") -> list[Message]:
    """Create a session with that many messages of one token."""
    speaker = Speaker(session_id)
    run_now(store.create_session(a_session(session_id)))
    said = [speaker.says(f"message {number}") for number in range(count)]
    for message in said:
        run_now(store.append_messages(session_id, [message]))
    return said
