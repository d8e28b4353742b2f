"""A dictionary of dictionaries, which copies what goes in and what comes out."""

from __future__ import annotations

from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import new_message, new_session
from benchmarks.subjects.subject import USER, Subject


class DictLine(Subject):
    """Keeps everything in this process. Shares nested values with its callers, unlike the memory store."""

    name = "dict"

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, dict[str, dict[str, Any]]] = {}
        self._middle: dict[str, str] = {}

    def fill(self, session: str, count: int) -> None:
        self._sessions[session] = new_session(session)
        self._messages[session] = {}
        for number, item in enumerate(islice(messages(), count)):
            message = self.append(session, item)
            if number == count // 2:
                self._middle[session] = message["id"]

    def append(self, session: str, item: Item) -> dict[str, Any]:
        message = new_message(session, item)
        self._messages[session][message["id"]] = dict(message)
        return message

    def last_20(self, session: str) -> object:
        return [dict(message) for message in islice(reversed(self._messages[session].values()), 20)]

    def context(self, session: str) -> object:
        return dict(self._sessions[session]), self.last_20(session)

    def all(self, session: str) -> object:
        return [dict(message) for message in self._messages[session].values()]

    def update(self, session: str, text: str) -> object:
        message = self._messages[session][self._middle[session]]
        message["content"] = text
        return dict(message)

    def delete(self, session: str) -> object:
        del self._messages[session]
        return self._sessions.pop(session)

    def list_100(self) -> object:
        mine = (session for session in reversed(self._sessions.values()) if session["user_id"] == USER)
        return [dict(session) for session in islice(mine, 100)]
