"""One session with its messages, and the rules that concern both. Knows nothing of locks, clocks and modes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from session_continuity import (
    Appended,
    Message,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Role,
    Session,
    SessionClosedError,
    TokenBudgetExceededError,
    format_timestamp,
    is_repeated_append,
    move_to,
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A message as kept: its JSON text, and beside it what totals and queries need without parsing."""

    id: str
    role: Role
    created_at: datetime
    tokens: int
    text: str

    @classmethod
    def of(cls, message: Message) -> _Row:
        return cls(message.id, message.role, message.created_at, message.token_count or 0, message.model_dump_json())

    def message(self) -> Message:
        return Message.model_validate_json(self.text)


class Conversation:
    """`head` is the session without its totals, for the store's own eyes; `session()` is a copy to hand out."""

    def __init__(self, session: Session) -> None:
        self._rows: dict[int, _Row] = {}
        self._places: dict[str, int] = {}
        self._order: list[int] = []
        self._system: list[int] = []
        self._next_place = 0
        self._tokens = 0
        self._last_activity_at = session.last_activity_at
        self.head = Session.model_validate_json(session.model_dump_json())

    @property
    def listing_key(self) -> tuple[str, str]:
        return format_timestamp(self.head.created_at), self.head.id

    @property
    def expiry_key(self) -> tuple[str, str]:
        return "" if self.head.expires_at is None else format_timestamp(self.head.expires_at), self.head.id

    def is_expired(self, now: datetime) -> bool:
        return self.head.expires_at is not None and self.head.expires_at <= now

    def session(self) -> Session:
        totals = {
            "message_count": len(self._rows),
            "token_count": self._tokens,
            "last_activity_at": self._last_activity_at,
            "system_message_ids": [self._rows[place].id for place in self._system],
        }
        return Session.model_validate_json(self.head.model_copy(update=totals).model_dump_json())

    def update(self, patch: Patch) -> None:
        changed = patch.apply(self.head).model_copy(update={"version": self.head.version + 1})
        self.head = Session.model_validate_json(changed.model_dump_json())

    def append(self, messages: Sequence[Message], chosen_ids: Collection[str]) -> Appended:
        stored = [self.get(message.id) for message in messages]
        if is_repeated_append(stored, messages):
            return self._appended([message for message in stored if message is not None], repeated=True)
        self._check_gate(sum(message.token_count or 0 for message in messages))
        if self._order and messages[0].created_at < self._rows[self._order[-1]].created_at:
            messages = move_to(self._rows[self._order[-1]].created_at, messages, chosen_ids=chosen_ids)
        for message in messages:
            self._add(_Row.of(message))
        self._last_activity_at = max(self._last_activity_at, messages[-1].created_at)
        return self._appended(messages, repeated=False)

    def get(self, message_id: str) -> Message | None:
        place = self._places.get(message_id)
        return None if place is None else self._rows[place].message()

    def find(self, query: MessageQuery, start: int | None) -> tuple[tuple[Message, ...], int | None]:
        """The messages of one page, and the place at which the next one begins."""
        found: list[Message] = []
        for place in self._walk(query, start):
            row = self._rows[place]
            if query.selects(row):
                if len(found) == query.limit:
                    return tuple(found), place
                found.append(row.message())
        return tuple(found), None

    def system(self) -> list[Message]:
        return [self._rows[place].message() for place in self._system]

    def replace(self, current: Message, changed: Message) -> Message:
        place = self._places[current.id]
        self._forget(place)
        self._keep(place, _Row.of(changed))
        return self._rows[place].message()

    def remove(self, message_id: str) -> bool:
        place = self._places.pop(message_id, None)
        if place is None:
            return False
        self._forget(place)
        del self._order[bisect_left(self._order, place)]
        return True

    def clear(self) -> int:
        count = len(self._rows)
        for kept in (self._rows, self._places, self._order, self._system):
            kept.clear()
        self._tokens = 0
        return count

    def _check_gate(self, tokens: int) -> None:
        if self.head.status in ("completed", "expired"):
            raise SessionClosedError(self.head.id, self.head.status)
        budget = self.head.token_budget
        limit = None if budget is None else budget.hard_limit
        if limit is not None and self._tokens + tokens > limit:
            raise TokenBudgetExceededError(self.head.id, requested=tokens, limit=limit, used=self._tokens)

    def _add(self, row: _Row) -> None:
        self._places[row.id] = self._next_place
        self._order.append(self._next_place)
        self._keep(self._next_place, row)
        self._next_place += 1

    def _keep(self, place: int, row: _Row) -> None:
        self._rows[place] = row
        self._tokens += row.tokens
        if row.role == "system":
            insort(self._system, place)

    def _forget(self, place: int) -> None:
        row = self._rows.pop(place)
        self._tokens -= row.tokens
        if row.role == "system":
            self._system.remove(place)

    def _appended(self, messages: Sequence[Message], *, repeated: bool) -> Appended:
        return Appended(
            messages=tuple(messages),
            repeated=repeated,
            message_count=len(self._rows),
            token_count=self._tokens,
            expires_at=self.head.expires_at,
        )

    def _walk(self, query: MessageQuery, start: int | None) -> Iterable[int]:
        """The places between the query's bounds, in its order, from `start` on."""
        order = self._order
        if query.ids is not None:
            order = sorted(self._places[message_id] for message_id in query.ids if message_id in self._places)
        low = 0 if query.after_id is None else bisect_right(order, self._place(query.after_id))
        high = len(order) if query.before_id is None else bisect_left(order, self._place(query.before_id))
        if query.order == "asc":
            low = max(low, 0 if start is None else bisect_left(order, start))
            return (order[index] for index in range(low, high))
        high = min(high, high if start is None else bisect_right(order, start))
        return (order[index] for index in range(high - 1, low - 1, -1))

    def _place(self, message_id: str) -> int:
        if message_id not in self._places:
            raise MessageNotFoundError(self.head.id, message_id)
        return self._places[message_id]
