"""redis-py by hand, sync and asyncio: messages as JSON texts in a list, the session in a hash, and an append as RPUSH
and HSET in one pipeline. No order across writers, no idempotence, no limit, no expiry, no index but a user's list."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import redis
import redis.asyncio

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

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def fill(self, session: str, messages: int) -> None:
        now = datetime.now(UTC).isoformat()
        described = {"id": session, "user_id": USER, "created_at": now, "title": "Benchmark"}
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hset(f"line:{session}", mapping=described)
            pipeline.rpush(f"line:user:{USER}", session)
            pipeline.execute()
        rest = [message(session, role, text) for role, text in islice(texts(), messages)]
        self._client.rpush(f"line:{session}:messages", *rest)

    def append(self, session: str, role: str, text: str) -> object:
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.rpush(f"line:{session}:messages", message(session, role, text))
            pipeline.hset(f"line:{session}", "last_activity_at", datetime.now(UTC).isoformat())
            return pipeline.execute()

    def last_20(self, session: str) -> object:
        return [json.loads(body) for body in self._client.lrange(f"line:{session}:messages", -20, -1)]  # type: ignore[union-attr]

    def all(self, session: str) -> object:
        return [json.loads(body) for body in self._client.lrange(f"line:{session}:messages", 0, -1)]  # type: ignore[union-attr]

    def update(self, session: str, text: str) -> object:
        return self._client.lset(f"line:{session}:messages", 3, message(session, "user", text))

    def delete(self, session: str) -> object:
        return self._client.unlink(f"line:{session}", f"line:{session}:messages")

    def list_100(self) -> object:
        fields = ["#", "line:*->user_id", "line:*->created_at", "line:*->title"]
        return self._client.sort(f"line:user:{USER}", start=0, num=100, by="nosort", get=fields, groups=True)

    def close(self) -> None:
        self._client.close()


class AsyncRedisLine:
    """The same appends and reads on redis.asyncio."""

    name = "redis.asyncio"

    def __init__(self, url: str) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(url)

    async def append(self, session: str, role: str, text: str) -> object:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.rpush(f"line:{session}:messages", message(session, role, text))
        pipeline.hset(f"line:{session}", "last_activity_at", datetime.now(UTC).isoformat())
        return await pipeline.execute()

    async def last_20(self, session: str) -> object:
        return [json.loads(body) for body in await self._client.lrange(f"line:{session}:messages", -20, -1)]

    async def all(self, session: str) -> object:
        return [json.loads(body) for body in await self._client.lrange(f"line:{session}:messages", 0, -1)]

    async def close(self) -> None:
        await self._client.aclose()
