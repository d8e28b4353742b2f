"""Generated ids of sessions and messages: UUIDv7 (RFC 9562) as text.

The first 48 bits of a message id are its message's `created_at`. The ids of one `MessageIds` sort in the order in which
they were generated. So a store can compute a key from an id. An id that a caller chooses may be any text.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from session_continuity.models import Message
from session_continuity.values import MAX_ID_BYTES

__all__ = ["MessageIds", "minted_at", "move_to", "new_session_id", "new_token", "stable_id"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_COUNTER_BITS = 12
_RANDOM_BITS = 62
_DIGEST_BYTES = 16


def _uuid7(milliseconds: int, counter: int) -> str:
    number = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(_RANDOM_BITS)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


class MessageIds:
    """Generates message ids. Each sorts after the one before, also when several threads call `mint`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = (0, 0)

    def mint(self) -> tuple[str, datetime]:
        """A new id, and the `created_at` in it."""
        now = _milliseconds(self._clock())
        with self._lock:
            milliseconds, counter = self._last
            self._last = (now, 0) if now > milliseconds else _next(milliseconds, counter)
            milliseconds, counter = self._last
        return _uuid7(milliseconds, counter), _moment(milliseconds)


def _next(milliseconds: int, counter: int) -> tuple[int, int]:
    # RFC 9562, section 6.2: the time in an id may run ahead of the clock when the counter is used up.
    return (milliseconds, counter + 1) if counter + 1 < 1 << _COUNTER_BITS else (milliseconds + 1, 0)


def new_session_id(now: datetime) -> str:
    """A new session id. Ids sort by time of creation."""
    return _uuid7(_milliseconds(now), secrets.randbits(_COUNTER_BITS))


def new_token() -> str:
    """A random text that marks one call."""
    return secrets.token_hex(8)


def stable_id(foreign: str) -> str:
    """An id for a session or message that has its own id elsewhere: the same for the same text, every time.

    A text that can be an id is returned as it is. A longer one is cut, with a digest of the whole behind it, so that
    two long texts with the same beginning get different ids. Raises ValueError for an empty text.
    """
    whole = foreign.encode(errors="surrogatepass")
    if not whole:
        raise ValueError("an empty text cannot be made into an id")
    beginning = foreign.encode(errors="replace")
    if len(whole) <= MAX_ID_BYTES and beginning == whole:
        return foreign
    digest = hashlib.blake2b(whole, digest_size=_DIGEST_BYTES).hexdigest()
    return f"{beginning[: MAX_ID_BYTES - len(digest) - 1].decode(errors='ignore')}~{digest}"


def minted_at(message_id: str) -> datetime | None:
    """The `created_at` in a generated id, or None if the id cannot have been generated here."""
    try:
        parsed = uuid.UUID(message_id)
    except ValueError:
        return None
    milliseconds = parsed.int >> 80
    if parsed.version != 7 or str(parsed) != message_id or milliseconds > _LATEST:
        return None
    return _moment(milliseconds)


def move_to(moment: datetime, messages: Sequence[Message], *, client_ids: Collection[str]) -> tuple[Message, ...]:
    """The same batch, created at `moment`. A store appends this when the writer's clock is behind the last message.

    Generated ids are replaced by ids with the new time. An id among `client_ids` stays.
    """
    ids = MessageIds(lambda: moment)

    def moved(message: Message) -> Message:
        new_id, created_at = ids.mint()
        message_id = message.id if message.id in client_ids else new_id
        return message.model_copy(update={"id": message_id, "created_at": created_at})

    return tuple(moved(message) for message in messages)
