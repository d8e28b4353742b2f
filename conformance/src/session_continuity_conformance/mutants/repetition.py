"""Mutants that treat a repeated call as a new one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from session_continuity import (
    Appended,
    Message,
    ValidationError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model


@breaks("SC-FLT-012")
class RecognisesRepetitionByTime(Model):
    """An append that the application repeats has another time and is refused."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        for message in messages:
            stored = self.require(session_id).find(message.id)
            if stored is not None and stored.created_at != message.created_at:
                raise ValidationError(f"message id {message.id!r} is taken by a message of another time")
        return super().append_messages(session_id, messages, client_ids=client_ids, **terms)
