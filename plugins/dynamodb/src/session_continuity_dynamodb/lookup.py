"""Finding messages by id: at the place that the id tells, or that its pointer tells. Never by reading the session,
but for a session with messages of another writer whose ids tell nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from session_continuity import Message, SessionNotFoundError
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.activity import Activity
from session_continuity_dynamodb.bodies import is_message, message_of, pointed_at
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.parts import whole
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, by_sort_key, text

_OPERANDS = 100
"""What one condition may compare an attribute with."""


async def get_message(store: Store, session_id: str, message_id: str) -> Message | None:
    [row] = await whole(store, await locate(store, session_id, [message_id]))
    return None if row is None else message_of(row, session_id)


async def locate(
    store: Store, session_id: str, message_ids: Sequence[str], *, consistent: bool | None = None
) -> list[Item | None]:
    """The rows of these messages, in their order, None for one that the session does not have; bodies in parts are
    left where they are.

    One request when every id tells its place, two with pointers. Raises SessionNotFoundError.
    """
    rows = await (await _look(store, session_id, message_ids, consistent=consistent)).rows()
    return [rows.get(message_id) for message_id in message_ids]


async def foresee(store: Store, session_id: str, message_id: str, replaced: Collection[str] = ()) -> Item | None:
    """A message's row, or what its pointer knows of it where that lacks nothing but fields that are to be replaced,
    `content` or `metadata`; None where the session has no such message, which a read that may lag does not prove.
    A guess for a write that states it as its condition: one request in most cases. Raises SessionNotFoundError.
    """
    look = await _look(store, session_id, [message_id])
    pointer = look.found.get(keys.POINTER + message_id)
    if pointer is not None:
        some, lacks = pointed_at(pointer)
        if lacks <= frozenset(replaced):
            return some
    row = (await look.rows()).get(message_id)
    if row is None and not store.wire.consistent:
        [row] = await locate(store, session_id, [message_id], consistent=True)
    return row


@dataclass
class _Look:
    """What the first request brought: the gate, and an item for each id at the place that was guessed."""

    store: Store
    session_id: str
    guesses: dict[str, str | None]
    gate: Item
    found: dict[str, Item]
    consistent: bool | None

    async def rows(self) -> dict[str, Item]:
        """The rows by their ids; reads on for those that are missing."""
        rows = _by_id(self.found.values())
        if missing := [message_id for message_id in self.guesses if message_id not in rows]:
            rows |= await self._through_pointers(missing)
            missing = [message_id for message_id in missing if message_id not in rows]
        if missing and (self.gate["SK"]["S"] == keys.META or Activity.of(self.gate).foreign):
            rows |= await _search(self.store, self.session_id, missing, consistent=self.consistent)
        self.store.known.seen(self.session_id, rows.values())
        return rows

    async def _through_pointers(self, missing: list[str]) -> dict[str, Item]:
        read = partial(_read, self.store, self.session_id, consistent=self.consistent)
        unread = [message_id for message_id in missing if self.guesses[message_id] is not None]
        found = {**self.found, **await read(keys.pointers(unread))} if unread else self.found
        places = [item["ref"]["S"] for item in found.values() if "ref" in item]
        return _by_id((await read([keys.MESSAGE + place for place in places])).values()) if places else {}


async def _look(store: Store, session_id: str, message_ids: Sequence[str], *, consistent: bool | None = None) -> _Look:
    guesses = {message_id: _guess(store, session_id, message_id) for message_id in message_ids}
    first = [
        keys.POINTER + message_id if place is None else keys.MESSAGE + place for message_id, place in guesses.items()
    ]
    found = await _read(store, session_id, [keys.ACTIVITY, *first], consistent=consistent)
    gate = found.pop(keys.ACTIVITY, None)
    if gate is None:
        gate = await store.wire.get(store.meta_key(session_id), consistent=consistent)
    if gate is None:
        raise SessionNotFoundError(session_id)
    await store.check_gate(session_id, gate)
    return _Look(store, session_id, guesses, gate, found, consistent)


def _guess(store: Store, session_id: str, message_id: str) -> str | None:
    row = store.known.row(session_id, message_id)
    return keys.computed_place(message_id) if row is None else keys.place_of(row)


async def _read(store: Store, session_id: str, sorts: Iterable[str], *, consistent: bool | None) -> dict[str, Item]:
    wanted = [store.item_key(session_id, sort) for sort in sorts]
    return by_sort_key(await store.wire.get_all(wanted, consistent=consistent))


def _by_id(items: Iterable[Item]) -> dict[str, Item]:
    return {item["id"]["S"]: item for item in items if is_message(item)}


async def _search(store: Store, session_id: str, missing: list[str], *, consistent: bool | None) -> dict[str, Item]:
    """Read the session's messages for these ids: they were written without a pointer."""
    expression = Expression()
    partition = expression.compare("PK", "=", text(store.keys.partition(session_id)))
    within = expression.between("SK", text(keys.MESSAGE), text(keys.AFTER_MESSAGES))
    few = len(missing) <= _OPERANDS
    chosen = {"FilterExpression": expression.any_of("id", list(map(text, missing)))} if few else {}
    params: dict[str, Any] = {
        "KeyConditionExpression": f"{partition} AND {within}",
        **chosen,
        "ConsistentRead": store.wire.consistent if consistent is None else consistent,
        **expression.params(),
    }
    found: dict[str, Item] = {}
    while True:
        rows, following = await store.wire.query(params)
        found |= {message_id: row for message_id, row in _by_id(rows).items() if message_id in missing}
        if following is None or len(found) == len(missing):
            return found
        params["ExclusiveStartKey"] = following
