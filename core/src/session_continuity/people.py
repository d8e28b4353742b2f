"""Who is in a session and who answers in it: the changes that joining, leaving and handing over are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from session_continuity import validation
from session_continuity.adapter import Patch
from session_continuity.errors import HandoffError, ValidationError
from session_continuity.models import HANDOFFS_KEPT, Handoff, Participant, Session

__all__ = ["handed_over", "new_participant", "new_participants", "parted"]


def new_participant(given: Participant | Mapping[str, Any] | str, now: datetime, *, at: str = "") -> Participant:
    """A participant from what a caller gave, `at` this place of it; one without a time joins now."""
    if isinstance(given, str):
        given = {"id": given}
    if isinstance(given, Mapping):
        given = {"joined_at": now, **given}
    return validation.validated(Participant, given, at=at)


def new_participants(given: Iterable[Participant | Mapping[str, Any] | str], now: datetime) -> list[Participant]:
    """Those who are there from the start. Raises ValidationError for somebody who is given twice."""
    entries = validation.several(given, "participants")
    joining = [new_participant(entry, now, at=f"participants.{place}") for place, entry in enumerate(entries)]
    if len({participant.id for participant in joining}) < len(joining):
        raise ValidationError("two participants have the same id")
    return joining


def parted(session: Session, participant_id: str, now: datetime) -> Patch | None:
    """The change that notes that somebody left; None when they had left before. Raises ValidationError where there is
    nobody of this id."""
    entry = next((known for known in session.participants if known.id == participant_id), None)
    if entry is None:
        raise ValidationError(f"participant_id: session {session.id!r} has no participant {participant_id!r}")
    if entry.left_at is not None:
        return None
    gone = entry.model_copy(update={"left_at": now})
    return Patch(set={"participants": [gone if known is entry else known for known in session.participants]})


def handed_over(session: Session, handoff: Handoff) -> Patch:
    """The change that makes `handoff.to_agent_id` the active agent. Raises HandoffError where it cannot be."""
    if session.active_agent_id == handoff.to_agent_id:
        raise HandoffError(f"agent {handoff.to_agent_id!r} is the active agent of session {session.id!r} already")
    if session.status in ("completed", "expired"):
        raise HandoffError(f"session {session.id!r} is {session.status}; only an open session goes to another agent")
    done = handoff.model_copy(update={"from_agent_id": session.active_agent_id})
    kept = [*session.handoffs, done][-HANDOFFS_KEPT:]
    return Patch(set={"active_agent_id": done.to_agent_id, "handoffs": kept})
