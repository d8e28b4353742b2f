"""Mutants that random concurrent work reveals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Unpack

from session_continuity import Appended, AppendTerms, Message
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-ORD-011")
class WritesBackWhatItRead(ReferenceStorage):
    """An append writes back everything as it was when the append began, and loses what others wrote meanwhile."""

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        before = self.work("append_messages", lambda model: model.copy_records())
        await self.pause()
        self.work("append_messages", lambda model: setattr(model, "records", before))
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)
