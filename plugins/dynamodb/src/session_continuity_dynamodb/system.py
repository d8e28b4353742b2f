"""Where a session's system messages are listed: the first few in the activity item, further ones as rows of their own.

Every append writes the activity item, which is read with the session and so lists what most sessions have, one or two
places. It lists no more than `MOST`, so that it stays within one kilobyte and appends within their price; an append
that adds more states them in rows, in the same transaction, and leaves a mark that says so. A place counts wherever it
is listed. What takes messages off the list looks in both places, for it knows only that they were on it.

A reader has the item first and the rows after it. Appends meanwhile do it no harm: their rows lie behind the last place
that the item tells. Edits and removals leave a mark of their own, by which it learns that it must read both again.

Without transactions, and in what other versions have left, the activity item lists any number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from session_continuity import SessionNotFoundError
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.activity import Activity, is_gone
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, string, text, texts
from session_continuity_dynamodb.wire import Action

MOST = 8
"""Places in the activity item, of about 60 bytes each, next to about 300 bytes of other attributes."""

PLACES = "systemIds"
IN_ROWS = "systemRows"
"""The mark of a session that lists some in rows: the write that did so first, so that no two sessions have the same."""

AMENDED = "systemRev"
"""The mark of the last write that changed the list, other than by an append."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What one write adds to the list: places in the activity item, if `bounded` on the condition that it has room for
    them, or rows."""

    places: Sequence[str] = ()
    rows: Sequence[Item] = ()
    bounded: bool = False

    def state(self, expression: Expression, write_id: str) -> list[str]:
        """The activity item's part, and its conditions."""
        if self.places:
            expression.add(PLACES, texts(self.places))
        if self.rows:
            expression.set_once(IN_ROWS, text(write_id))
        return [expression.at_most(PLACES, MOST - len(self.places))] if self.bounded else []

    def actions(self) -> list[Action]:
        return [{"Put": {"Item": row}} for row in self.rows]


def entries(store: Store, items: Sequence[Item], *, actions: int, full: bool) -> Entries:
    """How those of these message items that are system messages are listed, in a transaction of so many other actions;
    `full` says that the activity item has no room for them."""
    system = [item for item in items if is_system(item)]
    if not system or not store.wire.atomic or actions + len(system) > store.options.transaction_items:
        return Entries(places=list(map(keys.place_of, system)))
    if full or len(system) > MOST:
        return Entries(rows=list(map(_row, system)))
    return Entries(places=list(map(keys.place_of, system)), bounded=True)


def is_full(activity: Activity, added: int) -> bool:
    """Whether the activity item has no room for so many more."""
    return len(activity.system_places) + added > MOST


def is_system(item: Item) -> bool:
    return string(item, "role") == "system"


def _row(item: Item) -> Item:
    own = {"ownId": item["ownId"]} if "ownId" in item else {}
    return {**_key(item), **own}


def _key(item: Item) -> Item:
    return {"PK": item["PK"], "SK": text(keys.SYSTEM + keys.place_of(item))}


def amend(expression: Expression, left: Sequence[Item], listed: Entries, write_id: str) -> list[str]:
    """The activity item's part in an edit or a removal, and its conditions: messages that leave the list, and those
    that come onto it."""
    if left:
        expression.take_out(PLACES, texts(map(keys.place_of, left)))
    if left or listed.places or listed.rows:
        expression.set(AMENDED, text(write_id))
    return listed.state(expression, write_id)


def strikings(items: Sequence[Item]) -> list[Action]:
    """The removal of the rows that may list these messages."""
    return [{"Delete": {"Key": _key(item)}} for item in items]


async def activity_of(store: Store, item: Item) -> Activity:
    """An activity item with all places that are listed: two more requests where some are listed in rows. Raises
    SessionNotFoundError for a session that is gone by then."""
    session_id = str(store.keys.session_id(item["PK"]["S"]))
    tries = store.wire.tries("get_session")
    while IN_ROWS in item:
        next(tries)
        places = await _places_in_rows(store, session_id, string(item, "lastKey") or keys.NO_MESSAGE)
        now = await store.wire.get(store.activity_key(session_id), consistent=True)
        if now is None or now.get(IN_ROWS) != item[IN_ROWS] or is_gone(now, store.now()):
            raise SessionNotFoundError(session_id)
        if now.get(AMENDED) == item.get(AMENDED):
            activity = Activity.of(item)
            return replace(activity, system_places=tuple(sorted({*places, *activity.system_places})))
        item = now
    return Activity.of(item)


async def _places_in_rows(store: Store, session_id: str, last_place: str) -> list[str]:
    expression = Expression()
    partition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    within = expression.between("SK", text(keys.SYSTEM), text(keys.SYSTEM + last_place))
    wanted = expression.name("SK")
    params: dict[str, Any] = {
        "KeyConditionExpression": f"{partition} AND {within}",
        "ProjectionExpression": wanted,
        "ConsistentRead": True,
        **expression.params(),
    }
    places: list[str] = []
    while True:
        rows, following = await store.wire.query(params)
        places += [row["SK"]["S"][len(keys.SYSTEM) :] for row in rows]
        if following is None:
            return places
        params["ExclusiveStartKey"] = following
