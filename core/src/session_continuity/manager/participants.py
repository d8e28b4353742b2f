"""Participants and handoffs: who is in a session, and which agent answers in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.changes import change_session
from session_continuity.contract.patch import Patch
from session_continuity.errors import HandoffError, ValidationError
from session_continuity.events import AgentHandoff, ParticipantJoined, ParticipantLeft
from session_continuity.manager.event_bus import EventBus
from session_continuity.models import HANDOFFS_KEPT, Handoff, Participant, ParticipantRole, Session
from session_continuity.validation import as_list, validate

__all__ = ["Participants", "new_participant", "new_participants"]


class Participants:
    """Changes who is in the sessions of one manager."""

    def __init__(self, storage: StorageAdapter, events: EventBus, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._storage = storage
        self._events = events
        self._sleep = sleep

    async def add(
        self,
        session_id: str,
        participant: Participant | Mapping[str, Any] | str,
        role: ParticipantRole,
        metadata: Mapping[str, Any] | None,
    ) -> Participant:
        """Add a participant, in place of an entry with the same id, and return them."""
        value: Participant | Mapping[str, Any] | str = participant
        if isinstance(participant, str):
            value = {"id": participant, "role": role, "metadata": dict[str, Any]() if metadata is None else metadata}
        elif role != "user" or metadata is not None:
            raise ValidationError("role and metadata go with an id; a participant has its own")
        joining = new_participant(value, self._storage.clock())
        await self._change(session_id, lambda session: _with_participant(session, joining))
        await self._events.emit(
            ParticipantJoined(session_id=session_id, at=self._storage.clock(), participant_id=joining.id)
        )
        return joining

    async def remove(self, session_id: str, participant_id: str) -> None:
        """Set the time at which a participant left, unless they had left before."""
        now = self._storage.clock()
        has_left = False

        def leave(session: Session) -> Patch | None:
            nonlocal has_left
            patch = _without_participant(session, participant_id, now)
            has_left = patch is not None
            return patch

        await self._change(session_id, leave)
        if has_left:
            await self._events.emit(
                ParticipantLeft(session_id=session_id, at=self._storage.clock(), participant_id=participant_id)
            )

    async def hand_over(self, session_id: str, agent_id: str, reason: str | None, context: JsonValue) -> Session:
        """Make another agent the active one and return the session. Raises HandoffError."""
        fields = {"to_agent_id": agent_id, "reason": reason, "context": context, "at": self._storage.clock()}
        handoff = validate(Handoff, fields)
        session = await self._change(session_id, lambda session: _with_handoff(session, handoff))
        stored = session.handoffs[-1]
        await self._events.emit(
            AgentHandoff(
                session_id=session_id,
                at=self._storage.clock(),
                from_agent_id=stored.from_agent_id,
                to_agent_id=stored.to_agent_id,
                reason=stored.reason,
                context=stored.context,
            )
        )
        return session

    async def _change(self, session_id: str, change: Callable[[Session], Patch | None]) -> Session:
        return await change_session(self._storage, session_id, change, sleep=self._sleep)


def new_participant(value: Participant | Mapping[str, Any] | str, now: datetime, *, at: str = "") -> Participant:
    """A participant from an id, from fields, or as it is. Without a `joined_at`, the participant joins now.

    `at` is where the value lies in the caller's arguments, for error messages.
    """
    if isinstance(value, str):
        value = {"id": value}
    if isinstance(value, Mapping):
        value = {**value, "joined_at": value.get("joined_at") or now}
    return validate(Participant, value, at=at)


def new_participants(
    values: Iterable[Participant | Mapping[str, Any] | str] | None, now: datetime
) -> list[Participant]:
    """The participants of a session from the start. Raises ValidationError when two have the same id."""
    entries = as_list(() if values is None else values, "participants")
    joining = [new_participant(entry, now, at=f"participants.{place}") for place, entry in enumerate(entries)]
    if len({participant.id for participant in joining}) < len(joining):
        raise ValidationError("two participants have the same id")
    return joining


def _with_participant(session: Session, joining: Participant) -> Patch:
    others = [participant for participant in session.participants if participant.id != joining.id]
    return Patch(set={"participants": [*others, joining]})


def _without_participant(session: Session, participant_id: str, now: datetime) -> Patch | None:
    """The change that says that somebody left; None when they had left before. Raises ValidationError when nobody has
    this id."""
    entry = next((each for each in session.participants if each.id == participant_id), None)
    if entry is None:
        raise ValidationError(f"participant_id: session {session.id!r} has no participant {participant_id!r}")
    if entry.left_at is not None:
        return None
    left = entry.model_copy(update={"left_at": now})
    return Patch(set={"participants": [left if each is entry else each for each in session.participants]})


def _with_handoff(session: Session, handoff: Handoff) -> Patch:
    """The change that makes `handoff.to_agent_id` the active agent. Raises HandoffError when that is not possible."""
    if session.active_agent_id == handoff.to_agent_id:
        raise HandoffError(f"agent {handoff.to_agent_id!r} is the active agent of session {session.id!r} already")
    if session.status in ("completed", "expired"):
        raise HandoffError(f"session {session.id!r} is {session.status}; only an open session goes to another agent")
    stored = handoff.model_copy(update={"from_agent_id": session.active_agent_id})
    kept = [*session.handoffs, stored][-HANDOFFS_KEPT:]
    return Patch(set={"active_agent_id": stored.to_agent_id, "handoffs": kept})
