"""The contract as a small pure program: what a store must answer, with lists and loops and nothing clever.

The state machine compares stores with it, and the mutants break it. One model is one namespace; it has no lock, no
loop and no I/O, and it copies nothing: `reference.py` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from session_continuity import (
    MAX_PAGE,
    Appended,
    Clock,
    ConcurrencyError,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionClosedError,
    SessionExistsError,
    SessionFilter,
    SessionNotFoundError,
    TokenBudgetExceededError,
    ValidationError,
    decode_cursor,
    encode_cursor,
    format_timestamp,
    is_repeated_append,
    is_repeated_create,
    move_to,
)

T = TypeVar("T")
Key = tuple[Any, ...]


@dataclass
class Kept:
    """One session: `head` without totals, its messages in order with their places, and the next place."""

    head: Session
    last_activity_at: datetime
    messages: list[Message] = field(default_factory=list[Message])
    places: dict[str, int] = field(default_factory=dict[str, int])
    next_place: int = 0

    def session(self) -> Session:
        """The session with its totals."""
        return self.head.model_copy(
            update={
                "message_count": len(self.messages),
                "token_count": sum(message.token_count or 0 for message in self.messages),
                "system_message_ids": [message.id for message in self.messages if message.role == "system"],
                "last_activity_at": self.last_activity_at,
            }
        )

    def find(self, message_id: str) -> Message | None:
        return next((message for message in self.messages if message.id == message_id), None)


class Model:
    """A namespace of sessions. The methods are those of `StorageAdapter`, without its awaits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.kept: dict[str, Kept] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "clock"}

    def create_session(self, session: Session) -> Session:
        kept = self.live(session.id)
        if kept is None:
            kept = self.kept[session.id] = Kept(session, session.last_activity_at)
        elif not is_repeated_create(kept.session(), session):
            raise SessionExistsError(session.id)
        return kept.session()

    def get_session(self, session_id: str) -> Session | None:
        kept = self.live(session_id)
        return None if kept is None else kept.session()

    def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        kept = self.needed(session_id)
        self.compare(kept, expected_version)
        kept.head = patch.apply(kept.head).model_copy(update={"version": kept.head.version + 1})
        return kept.session()

    def delete_session(self, session_id: str, *, expired_before: datetime | None = None) -> bool:
        kept = self.kept.get(session_id)
        if kept is None or not (expired_before is None or self.is_expired(kept, expired_before)):
            return False
        del self.kept[session_id]
        return True

    def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        found = [kept.session() for kept in self.kept.values() if not self.is_expired(kept, self.clock())]
        found = [session for session in found if filter.matches(session)]
        found.sort(key=self.listing_key, reverse=True)
        return self.page(found, self.listing_key, limit, cursor, bound_to=filter.key(), downwards=True)

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, chosen_ids: Collection[str] = ()
    ) -> Appended:
        kept = self.needed(session_id)
        stored = [kept.find(message.id) for message in messages]
        if is_repeated_append(stored, messages):
            return self.appended(kept, [message for message in stored if message is not None], repeated=True)
        self.check_gate(kept, messages)
        turn = self.in_time(kept, messages, chosen_ids)
        self.add(kept, turn)
        return self.appended(kept, turn, repeated=False)

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        return self.needed(session_id).find(message_id)

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        kept = self.needed(session_id)
        found = [message for message in self.between(kept, query) if query.selects(message)]
        downwards = query.order == "desc"
        found = found[::-1] if downwards else found
        return self.page(
            found,
            self.place_key(kept),
            query.limit,
            cursor,
            bound_to=query.key(session_id),
            form=tuple[int],
            downwards=downwards,
        )

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        kept = self.needed(session_id)
        old = kept.find(message_id)
        if old is None:
            raise MessageNotFoundError(session_id, message_id)
        changed = patch.apply(old)
        kept.messages[kept.messages.index(old)] = changed
        return changed

    def delete_message(self, session_id: str, message_id: str) -> bool:
        kept = self.needed(session_id)
        before = len(kept.messages)
        kept.messages = [message for message in kept.messages if message.id != message_id]
        return len(kept.messages) < before

    def delete_all_messages(self, session_id: str) -> int:
        kept = self.needed(session_id)
        removed, kept.messages = kept.messages, []
        return len(removed)

    def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        expired = [kept.head for kept in self.kept.values() if self.is_expired(kept, before)]
        expired.sort(key=self.expiry_key)
        return self.page(expired, self.expiry_key, limit, cursor, bound_to="expired").map(lambda head: head.id)

    def live(self, session_id: str) -> Kept | None:
        """The session, unless it has expired; what an expired one left is removed by a create."""
        kept = self.kept.get(session_id)
        return None if kept is None or self.is_expired(kept, self.clock()) else kept

    def needed(self, session_id: str) -> Kept:
        kept = self.live(session_id)
        if kept is None:
            raise SessionNotFoundError(session_id)
        return kept

    def is_expired(self, kept: Kept, moment: datetime) -> bool:
        return kept.head.expires_at is not None and kept.head.expires_at <= moment

    def compare(self, kept: Kept, expected: int | None) -> None:
        actual = kept.head.version
        if expected is not None and actual != expected:
            current = kept.session().model_copy(deep=True)
            raise ConcurrencyError(kept.head.id, expected=expected, actual=actual, current=current)

    def check_gate(self, kept: Kept, messages: Sequence[Message]) -> None:
        """Refuse what the session's status or its hard limit refuses."""
        self.check_status(kept)
        self.check_limit(kept, messages)

    def check_status(self, kept: Kept) -> None:
        if kept.head.status in ("completed", "expired"):
            raise SessionClosedError(kept.head.id, kept.head.status)

    def check_limit(self, kept: Kept, messages: Sequence[Message]) -> None:
        limit = kept.head.token_budget.hard_limit if kept.head.token_budget is not None else None
        used, more = kept.session().token_count, sum(message.token_count or 0 for message in messages)
        if limit is not None and used + more > limit:
            raise TokenBudgetExceededError(kept.head.id, requested=more, limit=limit, used=used)

    def in_time(self, kept: Kept, turn: Sequence[Message], chosen_ids: Collection[str]) -> Sequence[Message]:
        """The turn, moved up where it is older than the last message."""
        if not kept.messages or turn[0].created_at >= kept.messages[-1].created_at:
            return turn
        return move_to(kept.messages[-1].created_at, turn, chosen_ids=chosen_ids)

    def add(self, kept: Kept, turn: Sequence[Message]) -> None:
        for message in turn:
            kept.messages.append(message)
            kept.places[message.id] = kept.next_place
            kept.next_place += 1
        kept.last_activity_at = max(kept.last_activity_at, turn[-1].created_at)

    def appended(self, kept: Kept, messages: Sequence[Message], *, repeated: bool) -> Appended:
        session = kept.session()
        return Appended(
            messages=tuple(messages),
            repeated=repeated,
            message_count=session.message_count,
            token_count=session.token_count,
            expires_at=session.expires_at,
        )

    def between(self, kept: Kept, query: MessageQuery) -> list[Message]:
        """The messages after `after_id` and before `before_id`."""
        ids = [message.id for message in kept.messages]
        for bound in (query.after_id, query.before_id):
            if bound is not None and bound not in ids:
                raise MessageNotFoundError(kept.head.id, bound)
        first = 0 if query.after_id is None else ids.index(query.after_id) + 1
        last = len(ids) if query.before_id is None else ids.index(query.before_id)
        return kept.messages[first:last]

    def listing_key(self, session: Session) -> Key:
        return format_timestamp(session.created_at), session.id

    def expiry_key(self, head: Session) -> Key:
        return format_timestamp(head.expires_at) if head.expires_at is not None else "", head.id

    def place_key(self, kept: Kept) -> Callable[[Message], Key]:
        return lambda message: (kept.places[message.id],)

    def page(
        self,
        found: list[T],
        key: Callable[[T], Key],
        limit: int,
        cursor: str | None,
        *,
        bound_to: str,
        form: type[Key] = tuple[str, str],
        downwards: bool = False,
    ) -> Page[T]:
        """One page of what was found, which is sorted by `key`, of this form. The cursor holds the key of the last item
        given."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValidationError(f"limit must be 1 to {MAX_PAGE}, not {limit}")
        if cursor is not None:
            last = decode_cursor(cursor, bound_to=bound_to, form=form)
            found = [item for item in found if (key(item) < last if downwards else key(item) > last)]
        page = found[:limit]
        more = encode_cursor(key(page[-1]), bound_to=bound_to) if len(found) > limit else None
        return Page(tuple(page), more)
