"""redis-py by hand, sync and asyncio: each message as one JSON text in a list, and an append as RPUSH and HSET in one
pipeline."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import Item, messages
from benchmarks.subjects.by_hand import JsonLibrary, new_message, new_session
from benchmarks.subjects.subject import USER, Subject


class RedisLine(Subject):
    """Returns dictionaries. It has no order across writers, no idempotence, no totals, no limit and no expiry, and
    lists nothing but a user's sessions."""

    client_name = "redis-py"

    def __init__(self, client: Any, library: JsonLibrary) -> None:
        self.name = f"{self.client_name}-{library.name}"
        self._client = client
        self._dumps, self._loads = library.dumps, library.loads

    def fill(self, session: str, count: int) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._key(session), self._dumps(new_session(session)))
        pipeline.rpush(self._key(f"user:{USER}"), session)
        if stored := [self._dumps(new_message(session, item)) for item in islice(messages(), count)]:
            pipeline.rpush(self._messages(session), *stored)
        return pipeline.execute()

    def append(self, session: str, item: Item) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.rpush(self._messages(session), self._dumps(new_message(session, item)))
        pipeline.hset(self._key(f"{session}:totals"), "last_activity_at", datetime.now(UTC).isoformat())
        return pipeline.execute()

    def last_20(self, session: str) -> Any:
        return self._load(self._client.lrange(self._messages(session), -20, -1))

    def context(self, session: str) -> Any:
        described, bodies = self._session_and_last_20(session).execute()
        return self._loads(described), self._load(bodies)

    def all(self, session: str) -> Any:
        return self._load(self._client.lrange(self._messages(session), 0, -1))

    def update(self, session: str, text: str) -> Any:
        message = new_message(session, {"role": "user", "content": text})
        return self._client.lset(self._messages(session), 0, self._dumps(message))

    def delete(self, session: str) -> Any:
        return self._client.unlink(self._key(session), self._messages(session))

    def list_100(self) -> Any:
        return self._load(self._sessions())

    def _load(self, bodies: list[bytes]) -> list[Any]:
        return [self._loads(body) for body in bodies]

    def _sessions(self) -> Any:
        return self._client.sort(self._key(f"user:{USER}"), start=0, num=100, by="nosort", get=self._key("*"))

    def _session_and_last_20(self, session: str) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(self._key(session))
        pipeline.lrange(self._messages(session), -20, -1)
        return pipeline

    def _key(self, of: str) -> str:
        return f"{self.name}:{of}"

    def _messages(self, session: str) -> str:
        return f"{self.name}:{session}:messages"


class AsyncRedisLine(RedisLine):
    """The same with redis.asyncio."""

    client_name = "redis.asyncio"
    awaited = True

    async def last_20(self, session: str) -> Any:
        return self._load(await self._client.lrange(self._messages(session), -20, -1))

    async def context(self, session: str) -> Any:
        described, bodies = await self._session_and_last_20(session).execute()
        return self._loads(described), self._load(bodies)

    async def all(self, session: str) -> Any:
        return self._load(await self._client.lrange(self._messages(session), 0, -1))

    async def list_100(self) -> Any:
        return self._load(await self._sessions())
