"""Models as texts and columns of rows, and back. Pure.

PostgreSQL's text has no NUL. Ids, tags and namespaces are kept with two characters in its place (`key`). A message's
content with NUL is kept as JSON, which escapes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError as PydanticError
from pydantic_core import from_json, to_json

from session_continuity import (
    Content,
    Message,
    MessageMetadata,
    MessageTooLargeError,
    Patch,
    Role,
    Session,
    UnreadableError,
    folded,
    format_timestamp,
    stored_message,
)
from session_continuity_postgres.config import MAX_MESSAGE_BYTES

M = TypeVar("M", bound=BaseModel)

MessageRow = tuple[int, str, str, int, int | None, str | None, str | None, str | None, int | None]
"""Place, id, role, created_at in milliseconds, tokens, content, blocks, metadata and updated_at in milliseconds."""

# pydantic's validators themselves, without the methods around them.
_read_content: Callable[[str], Content] = TypeAdapter(Content).validator.validate_json
_read_metadata: Callable[[str], MessageMetadata] = TypeAdapter(MessageMetadata).validator.validate_json
_read_session: Callable[[str], Session] = TypeAdapter(Session).validator.validate_json
_read_sessions: Callable[[str], list[Session]] = TypeAdapter(list[Session]).validator.validate_json

_DAMAGE = (PydanticError, ValueError, KeyError, TypeError, OverflowError)
"""What reading a row raises that was damaged, or written by a newer version."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROLES: tuple[Role, ...] = get_args(Role)
_ROLES: dict[str, Role] = {role: role for role in ROLES}
_NO_METADATA = MessageMetadata()
_IN_HEAD = {"id", "created_at", "creation_token", "forked_from"}
_DEFAULTS = {name: field.get_default(call_default_factory=True) for name, field in Session.model_fields.items()}
_LONGEST_TAG = 500  # characters; an index entry takes at most 2,700 bytes
_ESCAPED = "\\u0001"
"""How JSON writes the character that begins an escape of `key`."""


def key(text: str) -> str:
    """An id, tag or namespace as a column holds it. Keys are in the order of their texts' code points."""
    if "\0" in text or "\1" in text:
        return text.replace("\1", "\1\2").replace("\0", "\1\1")
    return text


def text_of(stored: str) -> str:
    """The text of a key."""
    if "\1" in stored:
        return stored.replace("\1\1", "\0").replace("\1\2", "\1")
    return stored


def optional_key(text: str | None) -> str | None:
    """The key of a text, None for None."""
    return None if text is None else key(text)


def tag_key(namespace: str, tag: str) -> str:
    """A tag as the index of all namespaces holds it. `namespace` is a key already."""
    whole = f"{namespace}\1\3{key(tag)}"
    if len(whole) <= _LONGEST_TAG:
        return whole
    return f"\1\4{blake2b(whole.encode(), digest_size=32).hexdigest()}"


def time_of(milliseconds: int) -> datetime:
    """The time of so many milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def time_text(moment: datetime | None) -> str | None:
    """A time as a parameter."""
    return None if moment is None else moment.isoformat()


class Batch(NamedTuple):
    """What an append sends of its messages, in the order of the function's parameters."""

    messages: str
    size: int
    tokens: int
    systems: int
    first: str | None
    last: str | None
    latest: str | None


NO_BATCH = Batch("[]", 0, 0, 0, None, None, None)


def batch_of(messages: Sequence[Message], client_ids: Collection[str]) -> Batch:
    """The batch. Raises MessageTooLargeError."""
    if not messages:
        return NO_BATCH
    rows = [{**_columns(message), "minted": message.id not in client_ids} for message in messages]
    in_order = all(earlier.created_at <= later.created_at for earlier, later in pairwise(messages))
    return Batch(
        to_json(rows).decode(),
        len(messages),
        sum(message.token_count or 0 for message in messages),
        sum(message.role == "system" for message in messages),
        format_timestamp(messages[0].created_at),
        format_timestamp(messages[-1].created_at),
        None if in_order else format_timestamp(max(message.created_at for message in messages)),
    )


def message_json(message: Message) -> str:
    """The columns of one message."""
    return to_json(_columns(message)).decode()


def _columns(message: Message) -> dict[str, Any]:
    content, metadata = message.content, message.metadata
    is_plain = isinstance(content, str) and "\0" not in content
    blocks = None if is_plain else to_json(content).decode()
    other = None if metadata == _NO_METADATA else metadata.model_dump_json(exclude_defaults=True)
    _check_size(content if isinstance(content, str) and is_plain else blocks, other)
    columns = {
        "id": key(message.id),
        "role": message.role,
        "tokens": message.token_count,
        "created_at": format_timestamp(message.created_at),
        "content": content if is_plain else None,
        "blocks": blocks,
        "metadata": other,
    }
    if message.updated_at is not None:
        columns["updated_at"] = format_timestamp(message.updated_at)
    return columns


def _check_size(*texts: str | None) -> None:
    stored = [text for text in texts if text is not None]
    if sum(map(len, stored)) * 4 > MAX_MESSAGE_BYTES:  # a character takes at most 4 bytes
        size = sum(len(text.encode()) for text in stored)
        if size > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(size=size, limit=MAX_MESSAGE_BYTES)


def read_messages(session_id: str, rows: Sequence[MessageRow]) -> list[Message]:
    """The messages of these rows. Raises UnreadableError."""
    messages = readable_messages(session_id, rows)
    for message, row in zip(messages, rows, strict=True):
        if message is None:
            raise UnreadableError(f"message {text_of(row[1])!r} of session {session_id!r}")
    return [message for message in messages if message is not None]


def readable_messages(session_id: str, rows: Sequence[MessageRow]) -> list[Message | None]:
    """The messages of these rows, None for one that cannot be read."""
    with suppress(*_DAMAGE):
        return [_read_row(session_id, *row) for row in rows]
    return [_readable(partial(_read_row, session_id, *row)) for row in rows]


def rows_of(detail: str) -> list[MessageRow | None]:
    """The rows that a function returned as JSON."""
    rows: list[MessageRow | None] = from_json(detail)
    return rows


def _read_row(
    session_id: str,
    _place: int,
    message_id: str,
    role: str,
    created: int,
    tokens: int | None,
    content: str | None,
    blocks: str | None,
    metadata: str | None,
    updated: int | None,
) -> Message:
    message = stored_message(
        id=text_of(message_id),
        session_id=session_id,
        role=_ROLES[role],
        content=_read_content(blocks or "") if content is None else content,
        metadata=None if metadata is None else _read_metadata(metadata),
        created_at=_EPOCH + timedelta(milliseconds=created),
        token_count=tokens,
    )
    return message if updated is None else message.model_copy(update={"updated_at": time_of(updated)})


def with_heads(messages: Sequence[Message], detail: str | None) -> tuple[Message, ...]:
    """The messages with the ids and times that the server gave them, or as they are for None."""
    if detail is None:
        return tuple(messages)
    return tuple(
        message.model_copy(update={"id": text_of(new_id), "created_at": time_of(created)})
        for message, (new_id, created) in zip(messages, from_json(detail), strict=True)
    )


def session_json(session: Session, namespace: str) -> str:
    """The columns of a new session."""
    head = session.model_dump_json(include=_IN_HEAD, exclude_none=True)
    columns: dict[str, Any] = {
        "head": head[:-1],
        "created_at": format_timestamp(session.created_at),
        "last_activity_at": format_timestamp(session.last_activity_at),
        "version": session.version,
    }
    for name in _COLUMNS_OF:
        columns.update(_columns_of(name, getattr(session, name), namespace))
    return to_json(columns).decode()


def patch_json(patch: Patch, namespace: str) -> str:
    """The columns that a patch of a session changes."""
    columns: dict[str, Any] = {}
    for name, value in {**{name: _DEFAULTS[name] for name in patch.clear}, **patch.set}.items():
        columns.update(_columns_of(name, value, namespace))
    return to_json(columns).decode()


def _columns_of(name: str, value: Any, namespace: str) -> Mapping[str, Any]:
    return {column: of(value, namespace) for column, of in _COLUMNS_OF[name].items()}


def _as_json(value: Any, _namespace: str) -> str | None:
    """A value as JSON, None for an empty one, which is the field's default."""
    if isinstance(value, BaseModel):
        text = value.model_dump_json(exclude_defaults=True)
        return None if text == "{}" else text
    return to_json(value).decode() if value or value == 0 else None


def _optional_key(value: str | None, _namespace: str) -> str | None:
    return optional_key(value)


_Column = Callable[[Any, str], Any]
_COLUMNS_OF: Mapping[str, Mapping[str, _Column]] = {
    "user_id": {"user_id": _optional_key},
    "active_agent_id": {"active_agent_id": _optional_key},
    "status": {"status": lambda value, _: value},
    "metadata": {
        "metadata": _as_json,
        "title": lambda value, _: None if value.title is None else key(folded(value.title)),
        "tags": lambda value, namespace: sorted({tag_key(namespace, tag) for tag in value.tags}),
    },
    "expires_at": {"expires_at": lambda value, _: time_text(value)},
    "token_budget": {
        "token_budget": _as_json,
        "hard_limit": lambda value, _: None if value is None else value.hard_limit,
    },
    **{name: {name: _as_json} for name in ("participants", "handoffs", "compression", "compression_state")},
    "sliding_ttl": {"sliding_ttl": _as_json},
}
"""The columns of each field of a session, and the value of each from the field's value and the namespace."""


def read_session(session_id: str, text: str) -> Session:
    """The session of this JSON. Raises UnreadableError."""
    session = _readable(partial(_read_one, text))
    if session is None:
        raise UnreadableError(f"session {session_id!r}")
    return session


def read_sessions(texts: Sequence[str]) -> list[Session | None]:
    """The sessions of these JSON texts, None for one that cannot be read."""
    if not any(_ESCAPED in text for text in texts):
        with suppress(*_DAMAGE):
            return [*_read_sessions(f"[{','.join(texts)}]")]
    return [_readable(partial(_read_one, text)) for text in texts]


def _read_one(text: str) -> Session:
    session = _read_session(text)
    if _ESCAPED not in text:
        return session
    ids = {
        "user_id": None if session.user_id is None else text_of(session.user_id),
        "active_agent_id": None if session.active_agent_id is None else text_of(session.active_agent_id),
        "system_message_ids": [text_of(message_id) for message_id in session.system_message_ids],
    }
    return session.model_copy(update=ids)


def _readable(read: Callable[[], M]) -> M | None:
    """What is read, or None where a row is damaged. Its error is dropped here, because it quotes what is stored."""
    try:
        return read()
    except _DAMAGE:
        return None
