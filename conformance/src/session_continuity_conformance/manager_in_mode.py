"""A manager for the adapter of an example, blocking or async as the adapter is."""

from __future__ import annotations

from typing import Any

from session_continuity import AsyncSessionManager, Message, SessionManager, StorageAdapter


class Application:
    """Calls a manager, as an application does. It does not close the adapter."""

    def __init__(self, adapter: StorageAdapter) -> None:
        self._manager = SessionManager(adapter) if adapter.mode == "blocking" else AsyncSessionManager(adapter)

    async def add_message(self, session_id: str, text: str, *, id: str) -> Message:
        """Add a user's message with an id that the application chose."""
        fields: dict[str, Any] = {"role": "user", "content": text, "id": id}
        if isinstance(self._manager, SessionManager):
            return self._manager.add_message(session_id, **fields)
        return await self._manager.add_message(session_id, **fields)

    async def context(self, session_id: str) -> list[Message]:
        """The messages for a model."""
        if isinstance(self._manager, SessionManager):
            return self._manager.get_conversation_context(session_id)
        return await self._manager.get_conversation_context(session_id)
