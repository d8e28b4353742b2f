"""Messages that do not fit into one item: their body lies in parts, in the same partition, and their item is a head
without it.

A set of parts is written by the transaction that writes the head which names it, and never changed: an edit of the
body writes another set. So a head stands for a whole body, and whoever misses a part reads the head again. Parts that
no head names any more are seen by nobody; they go with the transaction that takes the name away where they fit into
it, right after it where they do not, and with their session at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from session_continuity import Message, MessageTooLargeError, StorageError
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.bodies import (
    PARTS,
    message_head,
    message_item,
    packed_body,
    way_to_body,
    with_body,
    without_body,
)
from session_continuity_dynamodb.config import (
    MAX_ITEM_BYTES,
    MAX_TURN_BYTES,
    PART_BYTES,
    DynamoDBOptions,
    max_message_bytes,
)
from session_continuity_dynamodb.errors import BACKEND
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.system import is_system
from session_continuity_dynamodb.values import Item, binary, by_sort_key, item_size, key_of, text
from session_continuity_dynamodb.wire import Action, new_write_id


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is stored: its item, and the parts that hold its body where that does not fit in."""

    item: Item
    size: int
    parts: list[Item] = field(default_factory=list[Item])


def stored(store: Store, message: Message, operation: str, *, own_id: bool, revision: str | None = None) -> Stored:
    """How this message is stored. Raises MessageTooLargeError."""
    options = store.options
    item = message_item(store.keys, message, own_id=own_id, compression=options.compression, revision=revision)
    size, limit = item_size(item), max_message_bytes(options)
    if size <= MAX_ITEM_BYTES:
        return Stored(item, size)
    body, codec = packed_body(message, item)
    if limit > MAX_ITEM_BYTES:
        size = len(body)
    if size > limit:
        raise MessageTooLargeError(backend=BACKEND, operation=operation, size=size, limit=limit)
    return _in_parts(message, item, body, codec, revision or new_write_id())


def _in_parts(message: Message, item: Item, body: bytes, codec: str, name: str) -> Stored:
    pieces = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
    head = without_body(item, message, f"{name}#{len(pieces)}", codec)
    parts = [{**key, "data": {"B": piece}} for key, piece in zip(part_keys(head), pieces, strict=True)]
    return Stored(head, sum(map(item_size, [head, *parts])), parts)


def with_same_body(store: Store, message: Message, row: Item, revision: str) -> Stored:
    """How a message is stored after an edit that left the body of this row as it is."""
    item = {**message_head(store.keys, message, own_id="ownId" in row, revision=revision), **way_to_body(row)}
    return Stored(item, item_size(item))


def part_keys(row: Item) -> list[Item]:
    """The keys of the parts that this row names."""
    if PARTS not in row:
        return []
    parts, _, count = row[PARTS]["S"].partition("#")
    return [{"PK": row["PK"], "SK": text(keys.part(parts, number))} for number in range(int(count))]


def check_turn_fits(turn: Sequence[Stored], pointers: int, options: DynamoDBOptions) -> None:
    """Raises MessageTooLargeError for messages that are too large together for one transaction."""
    sizes = [(sum(message.size for message in turn), MAX_TURN_BYTES)]
    parts = sum(len(message.parts) for message in turn)
    if parts and options.append == "atomic":
        room = options.transaction_items - 1 - len(turn) - pointers
        sizes.append((parts * PART_BYTES, max(0, room) * PART_BYTES))
    for size, limit in sizes:
        if size > limit:
            raise MessageTooLargeError(backend=BACKEND, operation="append_messages", size=size, limit=limit)


def removable(
    doomed: Sequence[Item], options: DynamoDBOptions, *, actions: int, size: int
) -> tuple[list[Action], Sequence[Item]]:
    """The removal of parts as actions of a transaction that has so many others, on items of this size; and the parts
    that are to be removed after it, where they do not fit into it."""
    fits = actions + len(doomed) <= options.transaction_items and size + len(doomed) * MAX_ITEM_BYTES <= MAX_TURN_BYTES
    if fits and options.append == "atomic":
        return [{"Delete": {"Key": key}} for key in doomed], ()
    return [], doomed


def removals(rows: Sequence[Item], options: DynamoDBOptions) -> list[list[Item]]:
    """Rows in groups whose removal fits one transaction, with the activity item and what else belongs to them; a row
    that does not fit at all is a group by itself. So is each where writes follow one another: what was removed before
    one of them failed must be counted all the same."""
    if options.append == "serial":
        return [[row] for row in rows]
    groups: list[list[Item]] = []
    actions = size = 0
    for row in rows:
        parts = len(part_keys(row))
        cost, weight = 1 + ("ownId" in row) + is_system(row) + parts, item_size(row) + parts * MAX_ITEM_BYTES
        if not groups or actions + cost > options.transaction_items or size + weight > MAX_TURN_BYTES:
            groups.append([])
            actions, size = 1, 0
        groups[-1].append(row)
        actions, size = actions + cost, size + weight
    return groups


async def whole(store: Store, rows: Sequence[Item | None]) -> list[Item | None]:
    """These rows with their bodies: one more request where any of them are in parts, as a rule. None for a message that
    was removed meanwhile. Raises StorageError for parts that something else has removed."""
    heads = [row for row in rows if row is not None and PARTS in row]
    if not heads:
        return list(rows)
    found: dict[str, Item | None] = {row["SK"]["S"]: None for row in heads}
    tries = store.wire.tries("get_messages")
    consistent = store.wire.consistent
    while heads:
        next(tries)
        joined = await _joined(store, heads, consistent=consistent)
        torn = [head for head, row in zip(heads, joined, strict=True) if row is None]
        found |= by_sort_key(row for row in joined if row is not None)
        heads = await _read_again(store, torn, strict=consistent) if torn else []
        consistent = True
    return [row if row is None or PARTS not in row else found[row["SK"]["S"]] for row in rows]


async def _joined(store: Store, heads: Sequence[Item], *, consistent: bool) -> list[Item | None]:
    """The heads with their bodies, None where a part is missing; an item that is whole as it is."""
    wanted = [key for head in heads for key in part_keys(head)]
    held = by_sort_key(await store.wire.get_all(wanted, consistent=consistent))
    return [_join(head, [held.get(key["SK"]["S"]) for key in part_keys(head)]) for head in heads]


def _join(head: Item, parts: Sequence[Item | None]) -> Item | None:
    pieces = [binary(part["data"]["B"]) for part in parts if part is not None]
    if len(pieces) < len(parts):
        return None
    return with_body(head, b"".join(pieces)) if parts else head


async def _read_again(store: Store, torn: Sequence[Item], *, strict: bool) -> list[Item]:
    """The heads as they are now, of messages whose parts were missing."""
    now = await store.wire.get_all([key_of(head) for head in torn], consistent=True)
    before = by_sort_key(torn)
    if strict and any(head.get(PARTS) == before[head["SK"]["S"]][PARTS] for head in now):
        raise StorageError(
            "parts of a message are missing, and an edit is not the reason; delete the message, or write it anew",
            backend=BACKEND,
            operation="get_messages",
        )
    return now
