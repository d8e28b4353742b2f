"""Events: what a manager did, as frozen typed values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from pydantic import JsonValue

__all__ = [
    "EVENT_TYPES",
    "AgentHandoff",
    "BudgetExceeded",
    "CompressionApplied",
    "CompressionFailed",
    "ErrorOccurred",
    "Event",
    "MessageAdded",
    "MessageDeleted",
    "MessageUpdated",
    "ParticipantJoined",
    "ParticipantLeft",
    "SessionCreated",
    "SessionDeleted",
    "SessionEnded",
    "SessionExpired",
    "SessionUpdated",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a session, emitted afterwards. `type` is its stable name, `at` the time."""

    type: ClassVar[str] = ""

    session_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(Event):
    """A session was created."""

    type: ClassVar[str] = "session:created"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(Event):
    """Fields of a session were changed. `fields` are their names. `version` is None after a change that came with
    messages, because an append does not return the session."""

    type: ClassVar[str] = "session:updated"
    fields: frozenset[str]
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """A session was completed."""

    type: ClassVar[str] = "session:ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionExpired(Event):
    """An expired session was removed by a cleanup."""

    type: ClassVar[str] = "session:expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted(Event):
    """A session was deleted with everything in it."""

    type: ClassVar[str] = "session:deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded(Event):
    """A message was stored. A batch emits one event per message. A repeated append emits none."""

    type: ClassVar[str] = "message:added"
    message_id: str
    role: str
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageUpdated(Event):
    """A message was edited. `fields` are the names of the changed fields."""

    type: ClassVar[str] = "message:updated"
    message_id: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted(Event):
    """A message was deleted. `message_id` is None when all messages of the session were."""

    type: ClassVar[str] = "message:deleted"
    message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined(Event):
    """A participant joined, or joined again."""

    type: ClassVar[str] = "participant:joined"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft(Event):
    """A participant left."""

    type: ClassVar[str] = "participant:left"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHandoff(Event):
    """The session was handed to another agent."""

    type: ClassVar[str] = "agent:handoff"
    from_agent_id: str | None
    to_agent_id: str
    reason: str | None
    context: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionApplied(Event):
    """Old messages were compressed: `messages` of them, from `tokens_before` to `tokens_after` tokens.

    In `shortened` more messages, results of tools are now shown shortened.
    """

    type: ClassVar[str] = "compression:applied"
    strategy: str
    messages: int
    shortened: int = 0
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionFailed(Event):
    """Old messages could not be compressed, so they were left out of the context. They are stored as before.

    Until `retry_at`, contexts of the session are made without another attempt.
    """

    type: ClassVar[str] = "compression:failed"
    strategy: str
    error: Exception
    retry_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded(Event):
    """An append or a context did not fit the token budget and was refused.

    Of a context, `message_id` is the largest message that must be in it, and `message_tokens` its size.
    """

    type: ClassVar[str] = "budget:exceeded"
    requested: int
    limit: int
    message_id: str | None = None
    message_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOccurred(Event):
    """An error that no caller could receive. `source` is the event handler or the background job that failed."""

    type: ClassVar[str] = "error"
    source: str
    error: Exception


EVENT_TYPES: dict[str, type[Event]] = {event.type: event for event in Event.__subclasses__()}
"""Every event class by its name."""
