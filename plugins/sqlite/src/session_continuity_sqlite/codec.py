"""Models to the text and columns that rows hold, and back. Pure; the only place that knows the bodies' form.

A body is the model's JSON without most nulls and, for a session, without what has columns of its own because it
changes more often. Bodies become models by pydantic's JSON parser, a page at a time, which costs little more than
reading the JSON; empty lists and objects are written out, because they are faster to read than to default.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError as PydanticError

from session_continuity import Message, Session, format_timestamp
from session_continuity_sqlite.errors import UnusableFileError

M = TypeVar("M")
D = TypeVar("D", Message, Session)

SessionRow = tuple[str, int, int, int, str, str | None]
"""body, version, message_count, token_count, last_activity_at, the ids of system messages as JSON if there are any."""

_messages = TypeAdapter(list[Message])
_sessions = TypeAdapter(list[Session])
_IN_COLUMNS = {"version", "message_count", "token_count", "last_activity_at", "system_message_ids"}
_NULLABLE = [name for name, field in Session.model_fields.items() if field.default is None]
_NEVER_EDITED = {"updated_at"}


def time_text(moment: datetime | None) -> str | None:
    """A moment as rows hold it: text whose order is the order of time."""
    return None if moment is None else format_timestamp(moment)


def time_text_before(moment: datetime) -> str:
    """The last text that lies before the moment, which may fall between milliseconds."""
    try:
        return format_timestamp(moment - timedelta(microseconds=1))
    except OverflowError:
        return ""  # the first moment: no time lies before it


def time_of(text: str | None) -> datetime | None:
    """The moment that `time_text` wrote."""
    return None if text is None else datetime.fromisoformat(text)


def detached(model: D, **totals: Any) -> D:
    """A copy as a later read would give it, which shares no state with the original."""
    changed = model.model_copy(update=totals) if totals else model
    return type(model).model_validate_json(changed.model_dump_json())


def session_body(session: Session) -> str:
    absent = {name for name in _NULLABLE if getattr(session, name) is None}
    return session.model_dump_json(exclude=_IN_COLUMNS | absent)


def session_columns(session: Session) -> dict[str, Any]:
    """What listings and appends look at, by column."""
    budget = session.token_budget
    return {
        "user_id": session.user_id,
        "active_agent_id": session.active_agent_id,
        "status": session.status,
        "expires_at": time_text(session.expires_at),
        "hard_limit": None if budget is None else budget.hard_limit,
        "version": session.version,
    }


def sessions(rows: Iterable[SessionRow]) -> list[Session]:
    """The sessions of these rows. Raises UnusableFileError for a body that is damaged or from a newer version."""
    return _decoded(_sessions, [_whole(*row) for row in rows])


def _whole(body: str, version: int, messages: int, tokens: int, active_at: str, system_ids: str | None) -> str:
    listed = "" if system_ids is None else f',"system_message_ids":{system_ids}'
    return (
        f'{body[:-1]},"version":{version},"message_count":{messages},"token_count":{tokens},'
        f'"last_activity_at":"{active_at}"{listed}}}'
    )


def message_body(message: Message) -> str:
    return message.model_dump_json(exclude=None if message.updated_at else _NEVER_EDITED)


def messages(bodies: Iterable[str]) -> list[Message]:
    """The messages with these bodies. Raises UnusableFileError for one that is damaged or from a newer version."""
    return _decoded(_messages, bodies)


def _decoded(adapter: TypeAdapter[list[M]], texts: Iterable[str]) -> list[M]:
    try:
        return adapter.validate_json(f"[{','.join(texts)}]")
    except PydanticError as error:
        raise UnusableFileError(
            "a row cannot be read; it was damaged, or written by a newer version: "
            "restore it from a backup, or upgrade session-continuity"
        ) from error
