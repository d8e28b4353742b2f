"""Hints: what earlier calls of this process saw, used as first assumptions.

Writes are conditional on what a hint says. A stale hint costs another attempt and never causes a wrong write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from session_continuity import BoundedCache
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.places import NO_MESSAGE
from session_continuity_dynamodb.items.values import Item, Value, item_size

_LARGEST_ROW = 8192


@dataclass(frozen=True, slots=True)
class LastRow:
    """The last place of a session, whether its counters list as many system messages as they may, and whether it has a
    `sliding_ttl`."""

    place: str = NO_MESSAGE
    is_list_full: bool = False
    slides: bool = False


class _Rows(BoundedCache[Item]):
    max_size = 1024


class _LastRows(BoundedCache[LastRow]):
    max_size = 4096


class _Metas(BoundedCache[Item]):
    max_size = 4096


class _Deletes(BoundedCache[str]):
    max_size = 256


class Hints:
    """Small rows and last places that passed by, in bounded memory. Thread-safe.

    Without `rows` no row is remembered: another writer may edit one without leaving a sign.
    """

    def __init__(self, *, rows: bool = True) -> None:
        self._has_rows = rows
        self._rows = _Rows()
        self._last_rows = _LastRows()
        self._metas = _Metas()
        self._unfinished = _Deletes()

    def row(self, session_id: str, message_id: str) -> Item | None:
        """The row of a message, if it is remembered."""
        return self._rows.get(_row_key(session_id, message_id))

    def last_row(self, session_id: str) -> LastRow:
        """The end of a session, as far as it is remembered."""
        return self._last_rows.get(session_id) or LastRow()

    def knows(self, session_id: str) -> bool:
        """Whether this process has appended to the session, or seen that it slides."""
        return self._last_rows.get(session_id) is not None

    def remember_rows(self, session_id: str, rows: Iterable[Item]) -> None:
        """Remember rows that were read or written."""
        for row in rows:
            if self._has_rows and _is_small(row):
                self._rows.set(_row_key(session_id, row[names.ID]["S"]), row)

    def remember_append(self, session_id: str, rows: Iterable[Item], last: LastRow) -> None:
        """Remember rows that were appended, and the end of the session after them."""
        self.remember_rows(session_id, rows)
        self._last_rows.set(session_id, last)

    def remember_slides(self, session_id: str, *, slides: bool) -> None:
        """Remember of a session that was read or created whether it has a `sliding_ttl`."""
        known = self.last_row(session_id)
        if known.slides != slides:
            self._last_rows.set(session_id, replace(known, slides=slides))

    def meta(self, session_id: str) -> Item | None:
        """What META had when the counters were last brought in line with it."""
        return self._metas.get(session_id)

    def remember_meta(self, session_id: str, watched: Item) -> None:
        """Remember what META has, now that the counters are in line with it."""
        self._metas.set(session_id, watched)

    def unfinished_delete(self, session_id: str) -> str | None:
        """The tombstone of a delete that was interrupted in this process."""
        return self._unfinished.get(session_id)

    def remember_unfinished_delete(self, session_id: str, tombstone: str) -> None:
        """Remember that a delete was interrupted."""
        self._unfinished.set(session_id, tombstone)

    def forget_row(self, session_id: str, message_id: str) -> None:
        """Forget the row of a message."""
        self._rows.discard(_row_key(session_id, message_id))

    def forget_last_row(self, session_id: str) -> None:
        """Forget the end of a session that was deleted or made anew."""
        self._last_rows.discard(session_id)


def _row_key(session_id: str, message_id: str) -> str:
    """One text for both ids. Its length keeps different pairs apart, whatever characters the ids contain."""
    return f"{len(session_id)}:{session_id}{message_id}"


def _is_small(row: Item) -> bool:
    length = 0
    for name in (names.CONTENT, names.METADATA, names.BLOCKS, names.BODY):
        value = row.get(name)
        if value is not None:
            length += _length(value)
    return length <= _LARGEST_ROW


def _length(value: Value) -> int:
    """About the size of a value. Counting the bytes of each text exactly takes longer than it is worth."""
    [(tag, content)] = value.items()
    return len(content) if tag in ("S", "B") else item_size({"": value})
