"""Histories that LangChain's `RedisChatMessageHistory` keeps: a list for each session, with the newest message first.

The source is the URL of the server, such as redis://localhost:6379/0?key_prefix=message_store:.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

from session_continuity import ConfigError, ImportedConversation, stable_id
from session_continuity_agents.importers.langchain_histories import history
from session_continuity_agents.importers.reading import client, split_options

__all__ = ["conversations"]

_OPTIONS = {"key_prefix": "message_store:"}


def conversations(source: str) -> Iterator[ImportedConversation]:
    """The histories under the prefix, by their session ids. One that expires keeps the time that it has left."""
    redis = client("redis", "a history in Redis")
    url, options = split_options(source, _OPTIONS)
    prefix = options["key_prefix"]
    try:
        with closing(redis.Redis.from_url(url)) as server:
            pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
            for key in sorted(set(server.scan_iter(match=pattern, count=1000, _type="list"))):
                name = key.decode(errors="surrogateescape").removeprefix(prefix)
                left = server.pttl(key)
                ttl = timedelta(milliseconds=left) if left > 0 else None
                yield history(stable_id(name), server.lrange(key, 0, -1)[::-1], ttl)
    except (redis.exceptions.RedisError, ValueError) as error:
        raise ConfigError(f"the source cannot be read ({type(error).__name__})") from error
