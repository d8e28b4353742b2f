"""`History`: the messages of one session in order, and their totals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from session_continuity import Message, MessageNotFoundError, MessageQuery, Role
from session_continuity_memory.journal import Journal


@dataclass(frozen=True, slots=True)
class _Row:
    """A stored message: its JSON text, and the fields that totals and queries need without parsing it."""

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


class History:
    """The messages of the session `session_id`, and the sum of their `tokens`.

    Each message has a place, a number that grows and is never used again.
    """

    def __init__(self, session_id: str, journal: Journal) -> None:
        self.tokens = 0
        self._session_id = session_id
        self._journal = journal
        self._rows: dict[int, _Row] = {}
        self._places: dict[str, int] = {}
        self._order: list[int] = []
        self._system: list[int] = []
        self._next_place = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> _Row | None:
        """The last message, None if there is none."""
        return self._rows[self._order[-1]] if self._order else None

    @property
    def system_ids(self) -> list[str]:
        """The ids of the system messages, in order."""
        return [self._rows[place].id for place in self._system]

    def number_through(self, message_id: str) -> int:
        """The number of messages up to this one. Raises MessageNotFoundError."""
        return bisect_right(self._order, self._place(message_id))

    def between(self, start: int, end: int | None) -> tuple[Message, ...]:
        """Copies of the messages from one number to another."""
        return tuple(self._rows[place].message() for place in self._order[start:end])

    def get(self, message_id: str) -> Message | None:
        """A copy of the message, None if there is none."""
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
        """Copies of the system messages, in order."""
        return [self._rows[place].message() for place in self._system]

    def newest_first(self) -> Iterator[tuple[int, Message]]:
        """The place and a copy of each message, the last one first."""
        return ((place, self._rows[place].message()) for place in reversed(self._order))

    def add(self, message: Message) -> None:
        """Store a message at the end."""
        place = self._next_place
        self._next_place += 1
        self._change(place, _Row.of(message))

    def replace(self, current: Message, changed: Message) -> Message:
        """Store the changed message at the place of the current one, and return a copy of it."""
        place = self._places[current.id]
        self._change(place, _Row.of(changed))
        return self._rows[place].message()

    def remove(self, message_id: str) -> bool:
        """Delete a message, and return whether there was one."""
        place = self._places.get(message_id)
        if place is None:
            return False
        self._change(place, None)
        return True

    def clear(self) -> int:
        """Delete all messages, and return how many there were."""
        count = len(self._rows)
        kept = self._rows, self._places, self._order, self._system, self.tokens
        self._journal.enter(partial(self._set_all, *kept))
        self._set_all({}, {}, [], [], 0)
        return count

    def _change(self, place: int, row: _Row | None) -> None:
        """Make a place hold this row, or nothing."""
        before = self._rows.get(place)
        self._journal.enter(partial(self._set, place, before, self.tokens))
        more = (0 if row is None else row.tokens) - (0 if before is None else before.tokens)
        self._set(place, row, self.tokens + more)

    def _set(self, place: int, row: _Row | None, tokens: int) -> None:
        """Make a place hold this row, or nothing. Repeating it completes an interrupted one."""
        _keep(self._order, place, kept=row is not None)
        _keep(self._system, place, kept=row is not None and row.role == "system")
        if row is not None:
            self._places[row.id] = place
            self._rows[place] = row
        elif (before := self._rows.get(place)) is not None:
            self._places.pop(before.id, None)
            self._rows.pop(place)
        self.tokens = tokens

    def _set_all(
        self, rows: dict[int, _Row], places: dict[str, int], order: list[int], system: list[int], tokens: int
    ) -> None:
        self._rows, self._places, self._order, self._system, self.tokens = rows, places, order, system, tokens

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
            raise MessageNotFoundError(self._session_id, message_id)
        return self._places[message_id]


def _keep(places: list[int], place: int, *, kept: bool) -> None:
    """Make a sorted list have a place, or not."""
    index = bisect_left(places, place)
    found = index < len(places) and places[index] == place
    if kept and not found:
        places.insert(index, place)
    elif found and not kept:
        del places[index]
