"""What the lines have in common: messages and sessions as plain dictionaries."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks.conversation import Item, token_count
from benchmarks.subjects.subject import USER


@dataclass(frozen=True)
class JsonLibrary:
    """How a line writes and reads JSON."""

    name: str
    dumps: Callable[[Any], str | bytes]
    loads: Callable[[str | bytes], Any]


STANDARD = JsonLibrary("json", json.dumps, json.loads)
"""The standard library's, which most programs use, and openai-agents too."""

FASTEST = JsonLibrary("orjson", orjson.dumps, orjson.loads)


def new_message(session: str, item: Item) -> dict[str, Any]:
    """A message as a line stores it."""
    return {
        "id": uuid.uuid4().hex,
        "session_id": session,
        **item,
        "token_count": token_count(item),
        "created_at": datetime.now(UTC).isoformat(),
    }


def new_session(session: str) -> dict[str, Any]:
    """A session as a line stores it."""
    return {"id": session, "user_id": USER, "created_at": datetime.now(UTC).isoformat(), "title": "Benchmark"}
