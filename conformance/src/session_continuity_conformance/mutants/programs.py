"""Mutants that only sequences of calls reveal."""

from __future__ import annotations

from typing import Any

from session_continuity import (
    Appended,
    Patch,
    Session,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model


@breaks("SC-SES-019")
class ForgetsRepetitionAtAnUpdate(Model):
    """An append that is repeated after an update of its session is stored again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.updated: set[str] = set()

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        updated = super().update_session(session_id, patch, expected_version=expected_version)
        if not patch.set.keys() - {"user_id", "active_agent_id", "metadata"}:
            self.updated.add(session_id)
        return updated

    def append_messages(self, session_id: str, messages: Any, *, client_ids: Any = (), **terms: Any) -> Appended:
        record = self.require(session_id)
        if session_id in self.updated and all(record.find(message.id) is not None for message in messages):
            messages = move_to(messages[0].created_at, messages, client_ids=())
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)
