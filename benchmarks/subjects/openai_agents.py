"""The sessions of openai-agents, which keep a list of items for each session and nothing else."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import new_message
from benchmarks.subjects.subject import Subject

INSTALL = "openai-agents is not compared; `nox -s bench -- --peers …` installs it"


class OpenAIAgentsSubject(Subject):
    """Sessions in a SQLite file, on the server of an asyncio client of redis-py, or behind an engine of SQLAlchemy. Its
    methods are all async."""

    name = "openai-agents"
    awaited = True
    operations = ("append", "last 20", "all", "delete")

    def __init__(self, *, path: str | None = None, client: Any = None, engine: Any = None) -> None:
        self._path = path
        self._engine = engine
        self._client = client
        self._sessions: dict[str, Any] = {}

    async def fill(self, session: str, count: int) -> None:
        if stored := [new_message(session, item) for item in islice(messages(), count)]:
            await self._session(session).add_items(stored)

    def append(self, session: str, item: Item) -> Any:
        return self._session(session).add_items([new_message(session, item)])

    def last_20(self, session: str) -> Any:
        return self._session(session).get_items(limit=20)

    def all(self, session: str) -> Any:
        return self._session(session).get_items()

    def delete(self, session: str) -> Any:
        return self._session(session).clear_session()

    def close(self) -> None:
        """Close the files. Client and engine are closed by the comparison."""
        for session in self._sessions.values() if self._path is not None else ():
            session.close()

    def _session(self, session: str) -> Any:
        if session not in self._sessions:
            self._sessions[session] = self._open(session)
        return self._sessions[session]

    def _open(self, session: str) -> Any:
        if self._path is not None:
            return import_module("agents").SQLiteSession(session, self._path)
        if self._engine is not None:
            module = import_module("agents.extensions.memory.sqlalchemy_session")
            return module.SQLAlchemySession(session, engine=self._engine, create_tables=True)
        module = import_module("agents.extensions.memory.redis_session")
        return module.RedisSession(session, redis_client=self._client)


def is_installed() -> bool:
    """Whether openai-agents can be imported, with its sessions for Redis and SQLAlchemy."""
    try:
        import_module("agents.extensions.memory.redis_session")
        import_module("agents.extensions.memory.sqlalchemy_session")
    except ImportError:
        return False
    return True
