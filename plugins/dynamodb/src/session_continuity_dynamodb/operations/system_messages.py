"""Where a session's system messages are listed: the first few in the counters, further ones in rows.

Every append writes the counters, and every read of a session reads them. They list what most sessions have, one or two
system messages, but at most `MOST`: so they stay within one kilobyte, and appends keep their price. An append that adds
more writes a row for each, in the same transaction, and marks the counters. A place counts wherever it is listed, so a
write that takes messages off the list looks in both.

A reader reads the counters first and the rows after them. Appends in between do no harm: their rows lie behind the last
place that the counters have. Edits and removals change a revision, by which the reader sees that it must start again.

Without transactions, and in items that earlier versions wrote, the counters list any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.places import NO_MESSAGE
from session_continuity_dynamodb.items.values import Item, string, string_set
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.requests.batches import get_item
from session_continuity_dynamodb.requests.expressions import Update
from session_continuity_dynamodb.requests.pages import Pages, query
from session_continuity_dynamodb.requests.transactions import Action, delete

MOST = 8
"""Places in the counters: about 60 bytes each, beside about 300 bytes of other attributes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What one write adds to the list: places in the counters, or rows to put. With `is_bounded` it is conditional on
    there being room for the places."""

    places: Sequence[str] = ()
    rows: Sequence[Item] = ()
    is_bounded: bool = False

    def apply_to(self, change: Update, write_id: str) -> None:
        """Add this to the change of the counters."""
        if self.places:
            change.add(names.SYSTEM_PLACES, string_set(self.places))
        if self.rows:
            change.set_once(names.SYSTEM_ROWS, write_id)
        if self.is_bounded:
            change.where(change.at_most(names.SYSTEM_PLACES, MOST - len(self.places)))


NO_ENTRIES = Entries()


def new_entries(context: TableContext, items: Sequence[Item], *, actions: int, is_full: bool) -> Entries:
    """How these system messages are listed by a transaction that has so many other actions. `is_full` says that the
    counters have no room for them."""
    if not items:
        return NO_ENTRIES
    places = [keys.place_in(item) for item in items]
    # A row is written with the message that it lists or not at all, which only a transaction can do.
    if not context.sender.atomic or actions + len(items) > context.options.transaction_items:
        return Entries(places=places)
    if is_full or len(items) > MOST:
        return Entries(rows=[_row(item) for item in items])
    return Entries(places=places, is_bounded=True)


def is_full(counters: Counters, added: int) -> bool:
    """Whether the counters have no room for so many more."""
    return len(counters.system_places) + added > MOST


def _row(item: Item) -> Item:
    own_id = {names.OWN_ID: item[names.OWN_ID]} if names.OWN_ID in item else {}
    return {**_row_key(item), **own_id}


def _row_key(item: Item) -> Item:
    sort = keys.SYSTEM + keys.place_in(item)
    return {names.PARTITION_KEY: item[names.PARTITION_KEY], names.SORT_KEY: {"S": sort}}


def list_rows(items: Sequence[Item]) -> list[Item]:
    """The rows that list these messages."""
    return [_row(item) for item in items]


def list_keys(items: Sequence[Item]) -> list[Item]:
    """The keys of the rows that may list these messages."""
    return [_row_key(item) for item in items]


def change_list(change: Update, left: Sequence[Item], entries: Entries, write_id: str) -> None:
    """Add to the change of the counters that some messages leave the list, and that others come onto it."""
    if left:
        change.take_out(names.SYSTEM_PLACES, string_set(map(keys.place_in, left)))
    if left or entries.places or entries.rows:
        change.set(names.SYSTEM_REVISION, write_id)
    entries.apply_to(change, write_id)


def removal_actions(items: Sequence[Item]) -> list[Action]:
    """The deletes of the rows that may list these messages."""
    return [delete(_row_key(item)) for item in items]


async def load_counters(context: TableContext, item: Item) -> Counters | None:
    """The counters in an item, with all places that are listed. Those in rows take two more requests.

    None if the list was changed meanwhile other than by appends, or the session was deleted.
    """
    if names.SYSTEM_ROWS not in item:
        return Counters.of(item)
    session_id = str(context.keys.session_id(item[names.PARTITION_KEY]["S"]))
    places = await _read_rows(context, session_id, string(item, names.LAST_KEY) or NO_MESSAGE)
    now = await get_item(context.sender, context.keys.counters(session_id), consistent=True)
    if now is None or any(now.get(name) != item.get(name) for name in (names.SYSTEM_ROWS, names.SYSTEM_REVISION)):
        return None
    counters = Counters.of(item)
    return replace(counters, system_places=tuple(sorted({*places, *counters.system_places})))


async def _read_rows(context: TableContext, session_id: str, last_place: str) -> list[str]:
    params = query(
        context.keys.partition(session_id),
        keys.SYSTEM,
        keys.SYSTEM + last_place,
        attributes=[names.SORT_KEY],
        consistent=True,
    )
    return [
        row[names.SORT_KEY]["S"][len(keys.SYSTEM) :] async for rows in Pages(context.sender, params) for row in rows
    ]
