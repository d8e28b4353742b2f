"""Models as the text and columns of rows, and back. Pure. No other module depends on the form of a body.

Most messages have text as content, and are described by columns alone. Those are read in a third of the time that JSON
takes, because the text is not parsed. A message with blocks as content, with a time of its last edit, or without a
count of tokens has a body: the whole message as JSON.

A session's body is its JSON without defaults, and without what has columns because it changes more often than the rest.
Defaults are left out because pydantic fills them in faster than it reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError as PydanticError

from session_continuity import (
    Message,
    MessageMetadata,
    Role,
    Session,
    UnreadableError,
    folded,
    format_timestamp,
    searched_words,
    stored_message,
)

M = TypeVar("M", Message, Session)

MessageRow = tuple[int, str, str, str, int, str | None, str | None, str | None]
"""Place, id, role, created_at, tokens, and content, metadata and body where there are any."""

SessionRow = tuple[str, int, int, int, str, str | None]
"""Body, version, message_count, token_count, last_activity_at, and a JSON list of the system messages' ids, if any."""

# pydantic's validators themselves, without the methods around them, which take a tenth of the time to read a session.
_read_message: Callable[[str], Message] = TypeAdapter(Message).validator.validate_json
_read_metadata: Callable[[str], MessageMetadata] = TypeAdapter(MessageMetadata).validator.validate_json
_read_session: Callable[[str], Session] = TypeAdapter(Session).validator.validate_json

_DAMAGE = (PydanticError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a row raises that was damaged, or written by a newer version."""

_NO_METADATA = MessageMetadata()
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_IN_COLUMNS = {"version", "message_count", "token_count", "last_activity_at", "system_message_ids"}


def time_text(moment: datetime | None) -> str | None:
    """A time as rows hold it: text that sorts as the times do."""
    return None if moment is None else format_timestamp(moment)


def time_text_before(moment: datetime) -> str:
    """The text of the last millisecond before a time, which may lie between two milliseconds."""
    try:
        return format_timestamp(moment - timedelta(microseconds=1))
    except OverflowError:
        return ""  # sorts before every time: nothing is earlier than the first one


def time_of(text: str | None) -> datetime | None:
    """The time that `time_text` wrote."""
    return None if text is None else datetime.fromisoformat(text)


def detach(model: M, **totals: Any) -> M:
    """A copy, as a later read would return it. It shares no state with the original."""
    changed = model.model_copy(update=totals) if totals else model
    return type(model).model_validate_json(changed.model_dump_json())


def session_body(session: Session) -> str:
    """The session's JSON without its totals and version."""
    return session.model_dump_json(exclude=_IN_COLUMNS, exclude_defaults=True)


def session_columns(session: Session) -> dict[str, Any]:
    """What listings and appends look at, by column."""
    budget = session.token_budget
    return {
        "user_id": session.user_id,
        "active_agent_id": session.active_agent_id,
        "status": session.status,
        "title": None if session.metadata.title is None else folded(session.metadata.title),
        "expires_at": time_text(session.expires_at),
        "hard_limit": None if budget is None else budget.hard_limit,
        "version": session.version,
    }


def read_session(session_id: str, row: SessionRow) -> Session:
    """The session of this row. Raises UnreadableError."""
    session = _readable(partial(_read_session_row, *row))
    if session is None:
        raise UnreadableError(f"session {session_id!r}")
    return session


def read_sessions(rows: Sequence[SessionRow]) -> list[Session | None]:
    """The sessions of these rows, None for one that cannot be read."""
    with suppress(*_DAMAGE):
        return [_read_session(_with_columns(*row)) for row in rows]
    return [_readable(partial(_read_session_row, *row)) for row in rows]


def _read_session_row(*row: *SessionRow) -> Session:
    return _read_session(_with_columns(*row))


def _with_columns(body: str, version: int, messages: int, tokens: int, active_at: str, system_ids: str | None) -> str:
    ids = "" if system_ids is None else f',"system_message_ids":{system_ids}'
    return (
        f'{body[:-1]},"version":{version},"message_count":{messages},"token_count":{tokens},'
        f'"last_activity_at":"{active_at}"{ids}}}'
    )


def message_columns(message: Message) -> tuple[str | None, str | None, str | None]:
    """The columns content, metadata and body of a message."""
    content, metadata = message.content, message.metadata
    if not isinstance(content, str) or message.updated_at is not None or message.token_count is None:
        return None, None, message.model_dump_json()
    return content, None if metadata == _NO_METADATA else metadata.model_dump_json(exclude_defaults=True), None


def words_said(role: str, content: str | None, body: str | None) -> str | None:
    """The words of a row by which a search finds it, with spaces between them; None if there are none."""
    try:
        said = json.loads(body)["content"] if body is not None else content or ""
        return " ".join(searched_words(role, said)) or None
    except _DAMAGE:
        return None


def read_messages(session_id: str, rows: Sequence[MessageRow]) -> list[Message]:
    """The messages of these rows. Raises UnreadableError."""
    messages = readable_messages(session_id, rows)
    for message, row in zip(messages, rows, strict=True):
        if message is None:
            raise UnreadableError(f"message {row[1]!r} of session {session_id!r}")
    return [message for message in messages if message is not None]


def readable_messages(session_id: str, rows: Sequence[MessageRow]) -> list[Message | None]:
    """The messages of these rows, None for one that cannot be read."""
    with suppress(*_DAMAGE):
        return [_read_row(session_id, *row) for row in rows]
    return [_readable(partial(_read_row, session_id, *row)) for row in rows]


def _read_row(
    session_id: str,
    _place: int,
    message_id: str,
    role: str,
    created_at: str,
    tokens: int,
    content: str | None,
    metadata: str | None,
    body: str | None,
) -> Message:
    if body is not None or content is None:
        message = _read_message(body or "")
        # The body of a fork's message is a copy of its source's, and names the source.
        return message if message.session_id == session_id else message.model_copy(update={"session_id": session_id})
    return stored_message(
        id=message_id,
        session_id=session_id,
        role=_ROLES[role],
        content=content,
        metadata=None if metadata is None else _read_metadata(metadata),
        created_at=read_time(created_at),
        token_count=tokens,
    )


def read_time(text: str) -> datetime:
    """The time of a row. Raises ValueError if it is not in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC:
        raise ValueError(text)
    return moment


def _readable(read: Callable[[], M]) -> M | None:
    """What is read, or None where a row is damaged. Its error is dropped here, because it quotes what is stored."""
    try:
        return read()
    except _DAMAGE:
        return None
