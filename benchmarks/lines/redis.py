"""redis-py by hand, sync and asyncio: messages as JSON texts in a list, the session in a hash, and an append as RPUSH
and HSET in one pipeline. No order across writers, no idempotence, no limit, no expiry, no index but a user's list."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.conversation import texts
from benchmarks.subject import USER, Subject


def message(session: str, role: str, text: str) -> str:
    return json.dumps(
        {
            "id": uuid.uuid4().hex,
            "session_id": session,
            "role": role,
            "content": text,
            "token_count": len(text) // 4,
            "created_at": datetime.now(UTC).isoformat(),
        }
    )


class RedisLine(Subject):
    name = "redis-py"

    def __init__(self, client: Any) -> None:
        self._client = client

    def fill(self, session: str, messages: int) -> Any:
        now = datetime.now(UTC).isoformat()
        described = {"id": session, "user_id": USER, "created_at": now, "title": "Benchmark"}
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hset(self._key(session), mapping=described)
        pipeline.rpush(self._key(f"user:{USER}"), session)
        if talk := [message(session, role, text) for role, text in islice(texts(), messages)]:
            pipeline.rpush(self._messages(session), *talk)
        return pipeline.execute()

    def append(self, session: str, role: str, text: str) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.rpush(self._messages(session), message(session, role, text))
        pipeline.hset(self._key(session), "last_activity_at", datetime.now(UTC).isoformat())
        return pipeline.execute()

    def last_20(self, session: str) -> Any:
        return [json.loads(body) for body in self._client.lrange(self._messages(session), -20, -1)]

    def context(self, session: str) -> Any:
        described, bodies = self._described_and_last_20(session).execute()
        return described, [json.loads(body) for body in bodies]

    def all(self, session: str) -> Any:
        return [json.loads(body) for body in self._client.lrange(self._messages(session), 0, -1)]

    def update(self, session: str, text: str) -> Any:
        return self._client.lset(self._messages(session), 0, message(session, "user", text))

    def delete(self, session: str) -> Any:
        return self._client.unlink(self._key(session), self._messages(session))

    def list_100(self) -> Any:
        fields = ["#", *(self._key(f"*->{name}") for name in ("user_id", "created_at", "title"))]
        return self._client.sort(self._key(f"user:{USER}"), start=0, num=100, by="nosort", get=fields, groups=True)

    def _described_and_last_20(self, session: str) -> Any:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hgetall(self._key(session))
        pipeline.lrange(self._messages(session), -20, -1)
        return pipeline

    def _key(self, of: str) -> str:
        return f"{self.name}:{of}"

    def _messages(self, session: str) -> str:
        return f"{self.name}:{session}:messages"


class AsyncRedisLine(RedisLine):
    """The same on redis.asyncio."""

    name = "redis.asyncio"
    awaited = True

    async def last_20(self, session: str) -> Any:
        return [json.loads(body) for body in await self._client.lrange(self._messages(session), -20, -1)]

    async def context(self, session: str) -> Any:
        described, bodies = await self._described_and_last_20(session).execute()
        return described, [json.loads(body) for body in bodies]

    async def all(self, session: str) -> Any:
        return [json.loads(body) for body in await self._client.lrange(self._messages(session), 0, -1)]
