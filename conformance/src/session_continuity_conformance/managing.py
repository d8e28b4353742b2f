"""What applications do, on the adapter of an example: its manager, in whichever mode the adapter is."""

from __future__ import annotations

from typing import Any

from session_continuity import AsyncSessionManager, Message, SessionManager, StorageAdapter


async def add_message(adapter: StorageAdapter, session_id: str, text: str, *, id: str) -> Message:
    """Add a message as an application does that chooses its id."""
    asked: dict[str, Any] = {"role": "user", "content": text, "id": id}
    if adapter.mode == "blocking":
        return SessionManager(adapter).add_message(session_id, **asked)
    return await AsyncSessionManager(adapter).add_message(session_id, **asked)


async def context_of(adapter: StorageAdapter, session_id: str) -> list[Message]:
    """The messages for a model."""
    if adapter.mode == "blocking":
        return SessionManager(adapter).get_conversation_context(session_id)
    return await AsyncSessionManager(adapter).get_conversation_context(session_id)
