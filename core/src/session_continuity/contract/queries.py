"""Queries: which sessions or messages to read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Protocol, cast

from session_continuity.contract.paging import MAX_PAGE
from session_continuity.errors import ValidationError
from session_continuity.models import Role, Session, SessionStatus

__all__ = ["MessageQuery", "SessionFilter", "check_limit"]

MAX_TAGS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Conditions on sessions. A session must meet every condition given.

    `tags` is met by any of them, and takes at most 100: a store looks for each of them. `created_after` and
    `created_before` exclude the moment itself.
    """

    user_id: str | None = None
    active_agent_id: str | None = None
    status: SessionStatus | None = None
    tags: frozenset[str] = frozenset()
    created_after: datetime | None = None
    created_before: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.tags) > MAX_TAGS:
            raise ValidationError(f"a filter takes at most {MAX_TAGS} tags, not {len(self.tags)}; ask in several calls")

    def matches(self, session: Session) -> bool:
        """Whether this session meets every condition."""
        return (
            (self.user_id is None or session.user_id == self.user_id)
            and (self.active_agent_id is None or session.active_agent_id == self.active_agent_id)
            and (self.status is None or session.status == self.status)
            and (not self.tags or not self.tags.isdisjoint(session.metadata.tags))
            and (self.created_after is None or session.created_at > self.created_after)
            and (self.created_before is None or session.created_at < self.created_before)
        )

    def key(self) -> str:
        """A text that is equal for equal filters only. Cursors are bound to it."""
        return repr([_comparable(getattr(self, field.name)) for field in fields(self)])


class _Selectable(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Conditions on the messages of a session, and their order.

    `asc` is conversation order, oldest first. `limit` (1 to 1000) counts messages that meet every condition.
    `after` and `before` exclude the moment itself, `after_id` and `before_id` the message itself. All four refer to the
    order of the conversation, also in a descending query. `ids` selects those of the ids that exist.
    """

    order: Literal["asc", "desc"] = "asc"
    limit: int = 100
    roles: frozenset[Role] | None = None
    after: datetime | None = None
    before: datetime | None = None
    after_id: str | None = None
    before_id: str | None = None
    ids: frozenset[str] | None = None

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def selects(self, message: _Selectable) -> bool:
        """Whether a message, or a row with these fields of it, meets the conditions on roles, times and ids. The
        conditions on its place (`after_id`, `before_id`) are not checked."""
        return (
            (self.roles is None or message.role in self.roles)
            and (self.after is None or message.created_at > self.after)
            and (self.before is None or message.created_at < self.before)
            and (self.ids is None or message.id in self.ids)
        )

    def key(self, session_id: str) -> str:
        """A text that is equal for equal conditions on the same session only. Cursors are bound to it."""
        conditions = [field.name for field in fields(self) if field.name != "limit"]
        return repr([session_id, *(_comparable(getattr(self, name)) for name in conditions)])


def _comparable(value: Any) -> Any:
    """The value in a form whose repr is equal for equal values: a set in order."""
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value


def check_limit(limit: int) -> None:
    """Raise ValidationError unless `limit` is a page size from 1 to `MAX_PAGE`."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise ValidationError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
