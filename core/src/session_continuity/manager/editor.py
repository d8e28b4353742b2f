"""`Editor` changes and removes stored messages, and deletes a summary that no longer says what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from session_continuity.context.counting import MessageCounter
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.patch import Patch
from session_continuity.errors import MessageNotFoundError
from session_continuity.ids import minted_at
from session_continuity.manager import arguments
from session_continuity.models import Message, NewMessage

__all__ = ["Editor"]

_COUNTED = frozenset(["content", "metadata", "token_count"])


class Editor:
    """Edits the messages of one manager's sessions."""

    def __init__(self, storage: StorageAdapter, counter: MessageCounter) -> None:
        self._storage = storage
        self._counter = counter

    async def update(self, session_id: str, message_id: str, changes: Mapping[str, Any]) -> Message:
        """Change fields of a message and return it. Raises MessageNotFoundError."""
        patch = arguments.patch_for(NewMessage, changes)
        if changes.get("token_count") is None and not changes.keys().isdisjoint(_COUNTED):
            patch = await self._with_token_count(session_id, message_id, patch)
        stamped = Patch({**patch.set, "updated_at": self._storage.clock()}, patch.clear)
        message = await self._storage.update_message(session_id, message_id, stamped)
        if message.role != "system" or "role" in changes:  # no summary covers system messages
            await self._delete_summary_of(session_id, message.created_at)
        return message

    async def merge_metadata(self, session_id: str, message_id: str, changes: Mapping[str, Any]) -> Message:
        """Change keys of a message's metadata and return the message. Raises MessageNotFoundError."""
        patch = Patch({"updated_at": self._storage.clock()}, merge=arguments.metadata_changes(changes))
        return await self._storage.update_message(session_id, message_id, patch)

    async def delete(self, session_id: str, message_id: str) -> None:
        """Remove a message. Raises MessageNotFoundError.

        The summary is deleted also when the message is gone already: the call that removed it may have failed before
        it came to that.
        """
        message = await self._storage.get_message(session_id, message_id)
        deleted = message is not None and await self._storage.delete_message(session_id, message_id)
        if message is None or message.role != "system":
            await self._delete_summary_of(session_id, message.created_at if message else minted_at(message_id))
        if not deleted:
            raise MessageNotFoundError(session_id, message_id)

    async def delete_all(self, session_id: str) -> int:
        """Remove every message of a session and return how many."""
        count = await self._storage.delete_all_messages(session_id)
        await self._delete_summary_of(session_id)
        return count

    async def delete_summary_of_removed(self, session_id: str, added: Sequence[Message]) -> None:
        """Delete the session's summary if the last message it covers is gone, or was just added again."""
        session = await self._storage.get_session(session_id)
        state = None if session is None else session.compression_state
        if state is None or state.covered_until is None:
            return
        is_new = any(message.id == state.covered_until for message in added)
        if is_new or await self._storage.get_message(session_id, state.covered_until) is None:
            await self._storage.update_session(session_id, Patch(clear=frozenset({"compression_state"})))

    async def _with_token_count(self, session_id: str, message_id: str, patch: Patch) -> Patch:
        """The patch with the token count that the message has after it."""
        current = await self._storage.get_message(session_id, message_id)
        if current is None:
            raise MessageNotFoundError(session_id, message_id)
        count = self._counter.count(patch.apply(current))
        return Patch({**patch.set, "token_count": count}, patch.clear - {"token_count"})

    async def _delete_summary_of(self, session_id: str, created_at: datetime | None = None) -> None:
        """Delete the session's summary if it covers a message of this time, or in any case without a time."""
        session = await self._storage.get_session(session_id)
        state = None if session is None else session.compression_state
        if state is not None and (created_at is None or created_at <= state.covered_through):
            await self._storage.update_session(session_id, Patch(clear=frozenset({"compression_state"})))
