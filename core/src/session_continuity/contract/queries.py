"""Queries: which sessions or messages to read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol, cast

from session_continuity.contract.folding import folded
from session_continuity.contract.paging import MAX_PAGE, decode_cursor
from session_continuity.errors import ValidationError
from session_continuity.models import Role, Session, SessionStatus
from session_continuity.values import format_timestamp

__all__ = ["ListingPlace", "MessageQuery", "SessionFilter", "SessionOrder", "check_limit", "listing_start"]

MAX_TAGS = 100

SessionOrder = Literal["newest", "oldest", "recent", "idle"]
"""The order of a listing: by `created_at`, the newest or the oldest first, or by `last_activity_at`, the most recent
first or the longest idle first."""

_RESOLUTION = timedelta(milliseconds=1)
"""The shortest time between two different times of sessions."""


class ListingPlace(NamedTuple):
    """The place of a session in a listing: the time by which the listing is sorted, as `format_timestamp` writes it,
    and the session's id."""

    moment: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Conditions on sessions, and the order of a listing. A session must meet every condition given.

    `tags` is met by any of them, and takes at most 100: a store looks for each of them. `created_after` and
    `created_before` exclude the moment itself. `title` is met by a session whose title has this text in it, both
    `folded`: case does not count, accents do. A session without a title does not meet it. `behind` excludes the
    sessions up to a place in the order of the listing, whether there is a session at that place or not.
    """

    user_id: str | None = None
    active_agent_id: str | None = None
    status: SessionStatus | None = None
    tags: frozenset[str] = frozenset()
    created_after: datetime | None = None
    created_before: datetime | None = None
    title: str | None = None
    behind: ListingPlace | None = None
    order: SessionOrder = "newest"

    def __post_init__(self) -> None:
        if self.title == "":
            raise ValidationError("title must have at least one character; leave it out to list every title")
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
            and (self.title is None or folded(self.title) in folded(session.metadata.title or ""))
            and self.is_behind(self.place_of(session), self.behind)
        )

    @property
    def is_by_activity(self) -> bool:
        """Whether the listing is sorted by `last_activity_at`."""
        return self.order in ("recent", "idle")

    @property
    def is_downwards(self) -> bool:
        """Whether the latest time, and of one time the highest id, comes first."""
        return self.order in ("newest", "recent")

    def place_of(self, session: Session) -> ListingPlace:
        """The place of a session in the listing."""
        moment = session.last_activity_at if self.is_by_activity else session.created_at
        return ListingPlace(format_timestamp(moment), session.id)

    def is_behind(self, place: ListingPlace, start: ListingPlace | None) -> bool:
        """Whether a place comes after another one in the listing; always after None, the beginning."""
        return start is None or (place < start if self.is_downwards else place > start)

    def created_bounds(self) -> tuple[datetime | None, datetime | None]:
        """`created_after` and `created_before`, made narrower by `behind` where the order is one of creation.

        A store that reads between these times reads nothing of the sessions that `behind` excludes, except those
        created in the same millisecond.
        """
        after, before = self.created_after, self.created_before
        if self.behind is None or self.is_by_activity:
            return after, before
        try:
            bound = datetime.fromisoformat(self.behind.moment) + (_RESOLUTION if self.is_downwards else -_RESOLUTION)
        except OverflowError:  # the first or the last time of the calendar
            return after, before
        if self.is_downwards:
            return after, bound if before is None else min(before, bound)
        return bound if after is None else max(after, bound), before

    def key(self) -> str:
        """A text that is equal for filters with equal conditions and order. Cursors are bound to it.

        `behind` is not in it, because a cursor is a later place.
        """
        return repr([_comparable(getattr(self, field.name)) for field in fields(self) if field.name != "behind"])


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


def listing_start(filter: SessionFilter, cursor: str | None) -> ListingPlace | None:
    """The place behind which a page begins, None for the beginning of the listing.

    It is that of the cursor, which `encode_cursor(place, bound_to=filter.key())` wrote, or that of `behind`. Raises
    ValidationError as `decode_cursor` does.
    """
    if cursor is None:
        return filter.behind
    last = ListingPlace(*decode_cursor(cursor, bound_to=filter.key(), form=tuple[str, str]))
    return last if filter.is_behind(last, filter.behind) else filter.behind


def check_limit(limit: int) -> None:
    """Raise ValidationError unless `limit` is a page size from 1 to `MAX_PAGE`."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise ValidationError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
