"""Models as the texts and numbers that the scripts keep, and back. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError as PydanticError

from session_continuity import Message, Session, UnreadableError, format_timestamp
from session_continuity_redis.scripts import FIELD_CODES

M = TypeVar("M", Message, Session)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_ALMOST_A_MILLISECOND = timedelta(microseconds=999)  # 999 µs: rounding up cannot overflow datetime.max

# pydantic's validators themselves, without the methods around them: those take a tenth of the time to read a message.
# Bodies are read one by one, because joining them to a list copies them. The documents of sessions are small and arrive
# joined.
_read_message: Callable[[bytes], Message] = TypeAdapter(Message).validator.validate_json
_read_session: Callable[[bytes], Session] = TypeAdapter(Session).validator.validate_json
_read_sessions: Callable[[bytes], list[Session]] = TypeAdapter(list[Session]).validator.validate_json

_FIRST = {"created_at", "token_count"}


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - EPOCH) // MILLISECOND


def moment(milliseconds: int) -> datetime:
    """The time so many milliseconds after 1970."""
    return EPOCH + milliseconds * MILLISECOND


def pack_time(moment: datetime) -> int:
    """The time as a number that the scripts compare. It is made from the parts of the date, without a calendar."""
    days = (moment.year * 13 + moment.month) * 32 + moment.day
    return (((days * 24 + moment.hour) * 60 + moment.minute) * 60 + moment.second) * 1000 + moment.microsecond // 1000


def unpack_time(number: int) -> datetime:
    """The time that `pack_time` packed."""
    parts: list[int] = []
    for size in (1000, 60, 60, 24, 32, 13):
        number, part = divmod(number, size)
        parts.append(part)
    ms, second, minute, hour, day, month = parts
    return datetime(number, month, day, hour, minute, second, ms * 1000, UTC)


def not_before(moment: datetime) -> str:
    """The first whole millisecond that is not earlier than the time."""
    return format_timestamp((moment + _ALMOST_A_MILLISECOND).astimezone(UTC))


def not_after(moment: datetime) -> str:
    """The last whole millisecond that is not later than the time."""
    return format_timestamp(moment.astimezone(UTC))


def message_body(message: Message) -> str:
    """The message as JSON, without defaults. Its time and tokens come first: the scripts read them by column."""
    tokens = "null" if message.token_count is None else message.token_count
    rest = message.model_dump_json(exclude=_FIRST, exclude_defaults=True)[1:]
    return f'{{"created_at":"{format_timestamp(message.created_at)}","token_count":{tokens},{rest}'


def owner_piece(session_id: str) -> str:
    """The piece of a message's body that names its session."""
    return Message.model_construct(session_id=session_id).model_dump_json(include={"session_id"})[1:-1]


def read_message(session_id: str, message_id: str, body: bytes) -> Message:
    """The message with this body. Raises UnreadableError."""
    message = _readable(_read_message, body)
    if message is None:
        raise UnreadableError(f"message {message_id!r} of session {session_id!r}")
    return message


def readable_messages(bodies: Sequence[bytes]) -> list[Message | None]:
    """The messages with these bodies, None for one that cannot be read."""
    with suppress(PydanticError):
        return [_read_message(body) for body in bodies]
    return [_readable(_read_message, body) for body in bodies]


def read_session(session_id: str, document: bytes) -> Session:
    """The session of a document. Raises UnreadableError."""
    session = _readable(_read_session, document)
    if session is None:
        raise UnreadableError(f"session {session_id!r}")
    return session


def readable_sessions(documents: bytes, sizes: Sequence[int]) -> list[Session | None]:
    """The sessions of documents with these sizes that are separated by commas, None for one that cannot be read."""
    with suppress(PydanticError):
        sessions = _read_sessions(b"[%s]" % documents)
        if len(sessions) == len(sizes):
            return list(sessions)
    found: list[Session | None] = []
    start = 0
    for size in sizes:
        found.append(_readable(_read_session, documents[start : start + size]))
        start += size + 1
    return found


def _readable(read: Callable[[bytes], M], text: bytes) -> M | None:
    """What is read, or None. The error is dropped here, because it quotes what is stored."""
    try:
        return read(text)
    except PydanticError:
        return None


def digest_of(body: bytes) -> str:
    """The digest of a stored message, as the scripts compute it."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def session_fragments(session: Session) -> list[int | str]:
    """`fragments` of a new session: the fields that differ from their defaults."""
    values = {name: getattr(session, name) for name in FIELD_CODES}
    listed = fragments(values)
    return [item for code, text in zip(listed[::2], listed[1::2], strict=True) if text for item in (code, text)]


def user_fragment(user_id: str) -> str:
    """The piece of JSON that the sessions of this user hold."""
    return _fragment("user_id", user_id)


def fragments(values: Mapping[str, Any]) -> list[int | str]:
    """The number of each field and its value as a piece of JSON without defaults, an empty text for a default."""
    listed: list[int | str] = []
    for name, value in values.items():
        if name in FIELD_CODES:
            listed += (FIELD_CODES[name], "" if value is None else _fragment(name, value))
    return listed


def _fragment(name: str, value: Any) -> str:
    session = Session.model_construct(**{name: value})
    return session.model_dump_json(include={name}, exclude_defaults=True)[1:-1]
