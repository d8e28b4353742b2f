"""Models to what the scripts keep, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from session_continuity import Message, Session, format_timestamp
from session_continuity_redis.scripts import FIELD_CODES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_ALMOST_A_MILLISECOND = timedelta(microseconds=999)  # does not lead from the last millisecond out of the calendar
INDEXED = frozenset({"user_id", "active_agent_id", "status", "metadata", "expires_at"})

_sessions = TypeAdapter(list[Session])
_messages = TypeAdapter(list[Message])
_HEAD = {"created_at", "token_count"}


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


def moment(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * MILLISECOND


def packed(moment: datetime) -> int:
    """The moment as the scripts compare it: a number in the same order, made of the calendar's own."""
    days = (moment.year * 13 + moment.month) * 32 + moment.day
    return (((days * 24 + moment.hour) * 60 + moment.minute) * 60 + moment.second) * 1000 + moment.microsecond // 1000


def unpacked(number: int) -> datetime:
    parts: list[int] = []
    for size in (1000, 60, 60, 24, 32, 13):
        number, part = divmod(number, size)
        parts.append(part)
    ms, second, minute, hour, day, month = parts
    return datetime(number, month, day, hour, minute, second, ms * 1000, UTC)


def not_before(moment: datetime) -> str:
    """The first whole millisecond that is not earlier."""
    return format_timestamp((moment + _ALMOST_A_MILLISECOND).astimezone(UTC))


def not_after(moment: datetime) -> str:
    """The last whole millisecond that is not later."""
    return format_timestamp(moment.astimezone(UTC))


def body_of(message: Message) -> str:
    """A message as JSON text, its time and tokens first: the scripts read them by column."""
    tokens = "null" if message.token_count is None else message.token_count
    rest = message.model_dump_json(exclude=_HEAD)[1:]
    return f'{{"created_at":"{format_timestamp(message.created_at)}","token_count":{tokens},{rest}'


def message_from(body: str | bytes) -> Message:
    return Message.model_validate_json(body)


def messages_from(bodies: Sequence[str | bytes]) -> list[Message]:
    return _messages.validate_json(_listed(bodies))


def session_from(document: str | bytes) -> Session:
    return Session.model_validate_json(document)


def sessions_from(documents: Sequence[str | bytes]) -> list[Session]:
    return _sessions.validate_json(_listed(documents))


def _listed(texts: Sequence[str | bytes]) -> bytes:
    """JSON texts as one JSON list, which is decoded in less time than one after the other. A script could answer the
    list itself, but takes far longer to put it together, and every other client waits for it."""
    return b"[%s]" % b",".join(text.encode() if isinstance(text, str) else text for text in texts)


def text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


def digest_of(body: str) -> str:
    """The digest of a stored message, as the scripts compute it."""
    return hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()


def fields_of(session: Session) -> list[int | str]:
    """Number and text of every field that a new session states."""
    stated = {name: getattr(session, name) for name in FIELD_CODES}
    return pieces({name: value for name, value in stated.items() if value is not None and value != []})


def pieces(values: Mapping[str, Any]) -> list[int | str]:
    """Number and text of each field; without a value, the field is cleared."""
    listed: list[int | str] = []
    for name, value in values.items():
        if name in FIELD_CODES:
            listed += (FIELD_CODES[name], "" if value is None else _piece(name, value))
    return listed


def _piece(name: str, value: Any) -> str:
    return Session.model_construct(**{name: value}).model_dump_json(include={name})[1:-1]
