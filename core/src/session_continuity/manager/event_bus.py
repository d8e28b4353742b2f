"""Subscribers to events, and how events reach them."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from session_continuity.errors import ValidationError
from session_continuity.events import EVENT_TYPES, ErrorOccurred, Event

__all__ = ["EventBus", "Handler"]

_log = logging.getLogger("session_continuity")

E = TypeVar("E", bound=Event)

Handler = Callable[[E], Awaitable[None] | None]
"""A function or a coroutine function that is called with an event."""

Listener = Callable[[Any], object]


class EventBus:
    """Handlers by event class. A handler of a class is called with its events, one of `Event` with all events.

    `observers` returns the extensions that observe events; it is called at each event. `await_function` runs what a
    coroutine function returned.
    """

    def __init__(
        self,
        observers: Callable[[], Iterable[tuple[str, Listener]]],
        await_function: Callable[[Awaitable[object]], Awaitable[object]],
    ) -> None:
        self._observers = observers
        self._await_function = await_function
        self._handlers: dict[type[Event], tuple[Handler[Any], ...]] = {}
        self._lock = threading.Lock()

    def on(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Add a handler. Adding it again changes nothing. Raises ValidationError for an unknown event."""
        kind = _event_class(event_type)
        if not callable(handler):
            raise ValidationError(f"a handler is a function, not {type(handler).__name__}")
        with self._lock:
            handlers = self._handlers.get(kind, ())
            if handler not in handlers:
                self._handlers[kind] = (*handlers, handler)

    def off(self, event_type: str | type[E], handler: Handler[E]) -> None:
        """Remove a handler, if it is there."""
        kind = _event_class(event_type)
        with self._lock:
            self._handlers[kind] = tuple(each for each in self._handlers.get(kind, ()) if each != handler)

    def listeners(self, kind: type[Event]) -> list[tuple[str, Listener]]:
        """Who is called with events of this class, by name: its handlers, those of all events, the observers."""
        handlers = (*self._handlers.get(kind, ()), *self._handlers.get(Event, ()))
        return [*((_name(handler), handler) for handler in handlers), *self._observers()]

    async def emit(self, event: Event) -> None:
        """Call every listener, one after the other.

        An error of a listener becomes an `error` event. An `error` event without a listener is logged, and so is the
        failure of a listener of `error` events.
        """
        listeners = self.listeners(type(event))
        if isinstance(event, ErrorOccurred) and not listeners:
            _log.error("%s failed", event.source, exc_info=event.error)
        for source, listener in listeners:
            try:
                outcome = listener(event)
                if inspect.isawaitable(outcome):
                    await self._await_function(outcome)
            except Exception as error:
                await self._report(event, source, error)

    async def _report(self, event: Event, source: str, error: Exception) -> None:
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
