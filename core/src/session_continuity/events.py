"""What happened, as frozen typed facts, and who wants to know. An observer never breaks what it observes."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from pydantic import JsonValue

from session_continuity.errors import ValidationError

__all__ = [
    "EVENT_TYPES",
    "AgentHandoff",
    "BudgetExceeded",
    "CompressionApplied",
    "ErrorOccurred",
    "Event",
    "Events",
    "Handler",
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

_log = logging.getLogger("session_continuity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done to a session, told after it was done. `type` is its stable name."""

    type: ClassVar[str] = ""

    session_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(Event):
    """A session was created."""

    type: ClassVar[str] = "session:created"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated(Event):
    """Fields of a session were changed; `fields` names them."""

    type: ClassVar[str] = "session:updated"
    fields: frozenset[str]
    version: int


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
    """A message was stored; a turn of several tells each. A recognised repetition tells nothing."""

    type: ClassVar[str] = "message:added"
    message_id: str
    role: str
    token_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageUpdated(Event):
    """A message was edited; `fields` names what changed."""

    type: ClassVar[str] = "message:updated"
    message_id: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted(Event):
    """A message was deleted; `message_id` is None when all of the session's were."""

    type: ClassVar[str] = "message:deleted"
    message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined(Event):
    """Somebody joined, or joined again."""

    type: ClassVar[str] = "participant:joined"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft(Event):
    """Somebody left."""

    type: ClassVar[str] = "participant:left"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHandoff(Event):
    """The session went to another agent, with what was handed over."""

    type: ClassVar[str] = "agent:handoff"
    from_agent_id: str | None
    to_agent_id: str
    reason: str | None
    context: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionApplied(Event):
    """Messages were folded: `messages` of them, from `tokens_before` tokens to `tokens_after`."""

    type: ClassVar[str] = "compression:applied"
    strategy: str
    messages: int
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded(Event):
    """An append or a context did not fit the token budget and was refused."""

    type: ClassVar[str] = "budget:exceeded"
    requested: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOccurred(Event):
    """An error that reached no caller: of an event handler (`source` names it), or of background work."""

    type: ClassVar[str] = "error"
    source: str
    error: Exception


EVENT_TYPES: dict[str, type[Event]] = {event.type: event for event in Event.__subclasses__()}
"""Every event class by its name."""

E = TypeVar("E", bound=Event)
Handler = Callable[[E], Awaitable[None] | None]
"""Gets an event; a function or a coroutine function."""

Listener = Callable[[Any], object]
Wait = Callable[[Awaitable[object]], Awaitable[object]]


class Events:
    """Handlers by event class. A handler gets events of its class; one for `Event` gets all.

    `wait` is how an awaitable that a handler returned is run to its end; `observers` are asked at each event.
    """

    def __init__(self, observers: Callable[[], Iterable[tuple[str, Listener]]], wait: Wait) -> None:
        self._observers = observers
        self._wait = wait
        self._handlers: dict[type[Event], tuple[Handler[Any], ...]] = {}
        self._lock = threading.Lock()

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Add a handler; the same one counts once. Raises ValidationError for an unknown event."""
        kind = _event_class(event_type)
        if not callable(handler):
            raise ValidationError(f"a handler is a function, not {type(handler).__name__}")
        with self._lock:
            held = self._handlers.get(kind, ())
            if handler not in held:
                self._handlers[kind] = (*held, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Remove a handler; one that is not there is no error."""
        kind = _event_class(event_type)
        with self._lock:
            self._handlers[kind] = tuple(held for held in self._handlers.get(kind, ()) if held != handler)

    def listeners(self, kind: type[Event]) -> list[tuple[str, Listener]]:
        """Who wants events of this class, by name: its handlers, those for all events, the observers."""
        handlers = (*self._handlers.get(kind, ()), *self._handlers.get(Event, ()))
        return [*((_name(handler), handler) for handler in handlers), *self._observers()]

    async def emit(self, event: Event) -> None:
        """Tell every listener, one after the other. Their errors become `error` events; an `error` event that nobody
        wants, or that fails a listener itself, is logged."""
        listeners = self.listeners(type(event))
        if isinstance(event, ErrorOccurred) and not listeners:
            _log.error("%s failed", event.source, exc_info=event.error)
        for source, listener in listeners:
            try:
                outcome = listener(event)
                if inspect.isawaitable(outcome):
                    await self._wait(outcome)
            except Exception as error:
                await self._tell_error(event, source, error)

    async def _tell_error(self, event: Event, source: str, error: Exception) -> None:
        if isinstance(event, ErrorOccurred):
            _log.error("%s failed on an error event", source, exc_info=error)
        else:
            await self.emit(ErrorOccurred(session_id=event.session_id, at=event.at, source=source, error=error))


def _name(handler: Handler[Any]) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)


def _event_class(event_type: str | type[Event]) -> type[Event]:
    if isinstance(event_type, type) and issubclass(event_type, Event):
        return event_type
    if isinstance(event_type, str) and event_type in EVENT_TYPES:
        return EVENT_TYPES[event_type]
    raise ValidationError(f"unknown event; the events are {', '.join(EVENT_TYPES)}")
