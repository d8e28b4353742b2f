"""A dictionary of dictionaries, copied in and out."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import texts
from benchmarks.subject import USER, Subject


class DictLine(Subject):
    name = "dict"

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, dict[str, dict[str, Any]]] = {}
        self._middle: dict[str, str] = {}

    def fill(self, session: str, messages: int) -> None:
        created_at = datetime.now(UTC).isoformat()
        self._sessions[session] = {"id": session, "user_id": USER, "created_at": created_at, "title": "Benchmark"}
        self._messages[session] = {}
        for number, (role, text) in enumerate(islice(texts(), messages)):
            message = self.append(session, role, text)
            if number == messages // 2:
                self._middle[session] = message["id"]

    def append(self, session: str, role: str, text: str) -> dict[str, Any]:
        message = {
            "id": uuid.uuid4().hex,
            "session_id": session,
            "role": role,
            "content": text,
            "created_at": datetime.now(UTC).isoformat(),
        }
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
