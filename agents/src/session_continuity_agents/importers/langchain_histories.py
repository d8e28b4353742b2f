"""Messages of a history of LangChain, which are the same objects in each of its stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from session_continuity import ImportedConversation, NewMessage, SessionFields
from session_continuity_agents.importers.reading import Ids, object_in, read_messages
from session_continuity_agents.langchain_dicts import FRAMEWORK, message_of_dict

__all__ = ["history"]

_CHUNK = "MessageChunk"
_CHUNK_FIELDS = frozenset(["tool_call_chunks", "chunk_position"])


def history(id: str, messages: Iterable[Any], ttl: timedelta | None) -> ImportedConversation:
    """The conversation of a history. `messages` are objects or their JSON text, the oldest first. `ttl` is the time
    after which the history expires in its store."""
    ids = Ids()

    def convert(record: Any) -> Sequence[NewMessage]:
        dumped = _whole(object_in(record))
        message = message_of_dict(dumped)
        return [message if message.id else message.model_copy(update={"id": ids.of(dumped)})]

    named = ((f"message {number}", message) for number, message in enumerate(messages, 1))
    found, unreadable = read_messages(named, convert)
    fields: SessionFields = {"metadata": {"source": FRAMEWORK}}
    if ttl is not None:
        fields["ttl"] = ttl
    return ImportedConversation(id=id, fields=fields, messages=found, unreadable=unreadable)


def _whole(dumped: dict[str, Any]) -> dict[str, Any]:
    """The message of which a history has stored a chunk, such as the sum of a stream."""
    kind = str(dumped["type"])
    if not kind.endswith(_CHUNK):
        return dumped
    whole = kind.removesuffix(_CHUNK).lower()
    data = {name: value for name, value in dumped["data"].items() if name not in _CHUNK_FIELDS}
    return {"type": whole, "data": {**data, "type": whole}}
