"""What every operation shares: the wire, the keys, the time, and how a session is found to be there."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from session_continuity import SessionNotFoundError
from session_continuity_dynamodb import codec, keys
from session_continuity_dynamodb.activity import DELETING, is_gone, is_past
from session_continuity_dynamodb.config import DynamoDBOptions
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.values import Item, Value, by_sort_key, item_size, seconds, string, time_of
from session_continuity_dynamodb.wire import Wire

_ROWS_KNOWN = 1024
_SESSIONS_KNOWN = 4096
_LARGEST_KNOWN_ROW = 8192


@dataclass(frozen=True, slots=True)
class Tail:
    """What an append takes for granted of its session: its last place, and whether the activity item lists as many
    system messages as it may."""

    last_place: str = keys.NO_MESSAGE
    full: bool = False


class Known:
    """Rows and ends of sessions that passed by, as first guesses: a write states what it takes for granted as its
    condition, so that a guess saves a request and never harms."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[tuple[str, str], Item] = OrderedDict()
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    def row(self, session_id: str, message_id: str) -> Item | None:
        with self._lock:
            return self._rows.get((session_id, message_id))

    def tail(self, session_id: str) -> Tail:
        with self._lock:
            return self._tails.get(session_id, Tail())

    def appended(self, session_id: str, rows: Iterable[Item], tail: Tail) -> None:
        self.seen(session_id, rows)
        with self._lock:
            known = self._tails.pop(session_id, tail)
            self._tails[session_id] = Tail(max(tail.last_place, known.last_place), full=tail.full or known.full)
            if len(self._tails) > _SESSIONS_KNOWN:
                self._tails.popitem(last=False)

    def seen(self, session_id: str, rows: Iterable[Item]) -> None:
        small = {(session_id, row["id"]["S"]): row for row in rows if _is_small(row)}
        with self._lock:
            self._rows.update(small)
            while len(self._rows) > _ROWS_KNOWN:
                self._rows.popitem(last=False)

    def forget_row(self, session_id: str, message_id: str) -> None:
        with self._lock:
            self._rows.pop((session_id, message_id), None)

    def forget_session(self, session_id: str) -> None:
        with self._lock:
            self._tails.pop(session_id, None)
            for known in [known for known in self._rows if known[0] == session_id]:
                del self._rows[known]


def _is_small(row: Item) -> bool:
    length = 0
    for name in ("content", "metadata", "blocks", "body"):
        value = row.get(name)
        if value is not None:
            length += _length(value)
    return length <= _LARGEST_KNOWN_ROW


def _length(value: Value) -> int:
    """The length of a text or a packed body, and about that of blocks; measuring every text exactly takes longer."""
    [(tag, content)] = value.items()
    return len(content) if tag in ("S", "B") else item_size({"": value})


@dataclass(frozen=True)
class Store:
    """One adapter's insides. `now` reads the adapter's clock, which a test may replace at any time."""

    wire: Wire
    keys: Keys
    options: DynamoDBOptions
    now: Callable[[], datetime]
    known: Known = field(default_factory=Known)

    def meta_key(self, session_id: str) -> Item:
        return self.keys.item(session_id, keys.META)

    def activity_key(self, session_id: str) -> Item:
        return self.keys.item(session_id, keys.ACTIVITY)

    def item_key(self, session_id: str, sort: str) -> Item:
        return self.keys.item(session_id, sort)

    def row_key(self, session_id: str, place: str) -> Item:
        return self.item_key(session_id, keys.MESSAGE + place)

    async def heads(self, session_id: str, *, consistent: bool | None = None) -> tuple[Item | None, Item | None]:
        """META and the activity item, in one request."""
        found = by_sort_key(
            await self.wire.get_all([self.meta_key(session_id), self.activity_key(session_id)], consistent=consistent)
        )
        return found.get(keys.META), found.get(keys.ACTIVITY)

    def is_live(self, meta: Item | None, activity: Item | None) -> bool:
        """Whether the session that these two belong to is there for other calls."""
        return (
            meta is not None
            and codec.is_session(meta)
            and not is_past(time_of(meta.get("expiresAt")), self.now())
            and (activity is None or string(activity, "status") != DELETING)
        )

    async def check_gate(self, session_id: str, gate: Item | None) -> None:
        """Raise SessionNotFoundError unless the session is there. `gate` is its activity item or META, when a read
        brought one; otherwise it is fetched."""
        if gate is None:
            gate = await self.wire.get(self.activity_key(session_id))
        if gate is None:
            gate = await self.wire.get(self.meta_key(session_id))
        if gate is None or not self._is_open(gate):
            raise SessionNotFoundError(session_id)

    def _is_open(self, gate: Item) -> bool:
        if gate["SK"]["S"] == keys.META:
            return self.is_live(gate, None)
        return not is_gone(gate, self.now())

    def not_expired(self, expression: Expression) -> str:
        """The condition that an item's expiry, as a number, is later than now."""
        later = expression.compare("expiresAt", ">", seconds(self.now()))
        return f"({expression.absent('expiresAt')} OR {later})"
