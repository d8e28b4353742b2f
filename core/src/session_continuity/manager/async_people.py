"""The methods of `AsyncSessionManager` on participants and agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from session_continuity.manager.participants import Participants
from session_continuity.manager.parts import ManagerParts
from session_continuity.models import Participant, ParticipantRole, Session

__all__ = ["PeopleMethods"]


class PeopleMethods(ManagerParts):
    """One group of a manager's methods."""

    _participants: Participants

    async def add_participant(
        self,
        session_id: str,
        participant: Participant | Mapping[str, Any] | str,
        *,
        role: ParticipantRole = "user",
        metadata: Mapping[str, Any] | None = None,
    ) -> Participant:
        """Add a participant and return them. Pass an id with `role` and `metadata`, or a participant.

        An entry with the same id is replaced, also that of a participant who left.
        """
        await self._lifecycle.ready(session_id=session_id)
        return await self._participants.add(session_id, participant, role, metadata)

    async def remove_participant(self, session_id: str, participant_id: str) -> None:
        """Set `left_at` of a participant, unless they had left before. The entry stays.

        Raises ValidationError when no participant has this id.
        """
        await self._lifecycle.ready(session_id=session_id, participant_id=participant_id)
        await self._participants.remove(session_id, participant_id)

    async def get_participants(self, session_id: str) -> list[Participant]:
        """All present and former participants, in the order of joining. Those who left have a `left_at`."""
        return (await self._existing(session_id)).participants

    async def handoff_to_agent(
        self, session_id: str, agent_id: str, *, reason: str | None = None, context: JsonValue = None
    ) -> Session:
        """Make another agent the active one and return the session.

        `reason` and `context`, any JSON, are stored in `session.handoffs` (the newest 20) and are part of the event.
        Raises HandoffError when the agent is the active one already, or when the session is completed.
        """
        await self._lifecycle.ready(session_id=session_id, agent_id=agent_id)
        return await self._participants.hand_over(session_id, agent_id, reason, context)
