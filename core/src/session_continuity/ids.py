"""Ids: UUIDv7 text (RFC 9562) for sessions and for messages.

A message id minted here carries its message's `created_at` in its first 48 bits and sorts, as text, in the order in
which one minter made it; a store may therefore compute a key from an id. An id that a caller chose is any text.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from session_continuity.models import Message

__all__ = ["MessageIds", "minted_at", "move_to", "new_session_id"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_COUNTER_BITS = 12
_RANDOM_BITS = 62


def _uuid7(milliseconds: int, counter: int) -> str:
    number = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(_RANDOM_BITS)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


class MessageIds:
    """Mints message ids on one clock, each later than the one before, also from several threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = (0, 0)

    def mint(self) -> tuple[str, datetime]:
        """A new id and the `created_at` that it carries."""
        now = _milliseconds(self._clock())
        with self._lock:
            milliseconds, counter = self._last
            self._last = (now, 0) if now > milliseconds else _next(milliseconds, counter)
            milliseconds, counter = self._last
        return _uuid7(milliseconds, counter), _moment(milliseconds)


def _next(milliseconds: int, counter: int) -> tuple[int, int]:
    return (milliseconds, counter + 1) if counter + 1 < 1 << _COUNTER_BITS else (milliseconds + 1, 0)


def new_session_id(now: datetime) -> str:
    """A session id that sorts by time of creation."""
    return _uuid7(_milliseconds(now), secrets.randbits(_COUNTER_BITS))


def minted_at(message_id: str) -> datetime | None:
    """The `created_at` that a minted id carries; None for an id that cannot have been minted here."""
    try:
        parsed = uuid.UUID(message_id)
    except ValueError:
        return None
    milliseconds = parsed.int >> 80
    if parsed.version != 7 or str(parsed) != message_id or milliseconds > _LATEST:
        return None
    return _moment(milliseconds)


def move_to(moment: datetime, messages: Sequence[Message], *, chosen_ids: Collection[str]) -> tuple[Message, ...]:
    """The same turn, in the same order, created at `moment`: what a store appends when a writer's clock is behind.

    Minted ids are minted anew, so that they carry the new time; an id among `chosen_ids` stays.
    """
    ids = MessageIds(lambda: moment)

    def moved(message: Message) -> Message:
        message_id, created_at = ids.mint()
        kept = message.id if message.id in chosen_ids else message_id
        return message.model_copy(update={"id": kept, "created_at": created_at})

    return tuple(moved(message) for message in messages)
