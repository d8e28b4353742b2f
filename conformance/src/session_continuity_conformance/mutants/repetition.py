"""Mutants that take a repeated call for a new one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from session_continuity import Appended, Message, ValidationError
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model


@breaks("SC-FLT-012")
class KnowsARepetitionByItsTime(Model):
    """An append that is repeated by a new call of the application, and so has another time, contradicts the first."""

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        for message in messages:
            stored = self.needed(session_id).find(message.id)
            if stored is not None and stored.created_at != message.created_at:
                raise ValidationError(f"message id {message.id!r} is taken by a message of another time")
        return super().append_messages(session_id, messages, chosen_ids=chosen_ids)
