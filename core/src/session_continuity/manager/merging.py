"""`Merging` changes single keys of a session's metadata."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.changes import change_session
from session_continuity.contract.patch import Patch, merge_keys
from session_continuity.errors import ValidationError
from session_continuity.models import Session, SessionMetadata
from session_continuity.validation import validate

__all__ = ["Merging"]


class Merging:
    """Merges metadata into the sessions of one manager."""

    def __init__(self, storage: StorageAdapter, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._storage = storage
        self._sleep = sleep

    async def merge(self, session_id: str, changes: Mapping[str, Any]) -> Session:
        """Change these keys of the metadata and return the session. Raises ValidationError for wrong values."""
        if not changes:
            raise ValidationError("no change given; name the keys of the metadata to change")

        def change(session: Session) -> Patch | None:
            before = session.metadata.model_dump()
            after = merge_keys(before, changes)
            return None if after == before else Patch({"metadata": validate(SessionMetadata, after, at="metadata")})

        return await change_session(self._storage, session_id, change, sleep=self._sleep)
