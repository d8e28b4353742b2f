"""Messages as rows: one item, or a head and parts where the body does not fit into one item. Pure.

The transaction that writes a head also writes the parts that it names. Parts are never changed: an edit of the body
writes another set. So a head always stands for a whole body, and a reader that misses a part reads the head again.

Parts that no head names any more are invisible. They are removed by the transaction that removes their name, if they
fit into it, otherwise right after it, and with their session at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from session_continuity import Message, MessageTooLargeError
from session_continuity_dynamodb.config import (
    MAX_BATCH_BYTES,
    MAX_ITEM_BYTES,
    PART_BYTES,
    DynamoDBOptions,
    max_message_bytes,
)
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.message_codec import (
    CONTENT,
    message_head,
    message_item,
    packed_body,
    parts_note,
    pick,
)
from session_continuity_dynamodb.items.values import Item, binary, item_size

_PREVIEW_LENGTH = 200

_BODY_IN_PARTS = (names.PARTS, names.CODEC, names.METADATA, names.CONTENT, names.EMPTY_TEXT, names.BLOCKS)
"""What leads to a body in parts, and what other writers may have put beside it."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A message as it is about to be written, computed once and carried through the write.

    `parts` hold the body where it does not fit into `item`. `size` is the bytes of all of these. With `own_id` a
    pointer leads to the message.
    """

    message: Message
    place: str
    item: Item
    size: int
    own_id: bool
    parts: Sequence[Item] = ()


def new_row(
    partition: str,
    place: str,
    message: Message,
    options: DynamoDBOptions,
    *,
    own_id: bool,
    revision: str | None = None,
) -> NewRow:
    """The row of a message. `revision` is the id of the edit that writes it. Raises MessageTooLargeError."""
    item = message_item(
        partition,
        place,
        message,
        own_id=own_id,
        compression=options.compression,
        revision=revision,
        has_empty_texts=options.beside_kit,
    )
    size = item_size(item)
    if size <= MAX_ITEM_BYTES:
        return NewRow(message, place, item, size, own_id)
    limit = max_message_bytes(options)
    body, codec = packed_body(message, item)
    if limit > MAX_ITEM_BYTES:  # parts are possible, and their limit is one of the body alone
        size = len(body)
    if size > limit:
        raise MessageTooLargeError(size=size, limit=limit)
    pieces = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
    head = _head_without_body(item, message, f"{revision or keys.new_write_id()}#{len(pieces)}", codec)
    parts = [{**key, names.DATA: {"B": piece}} for key, piece in zip(part_keys(head), pieces, strict=True)]
    return NewRow(message, place, head, sum(map(item_size, [head, *parts])), own_id, parts)


def _head_without_body(item: Item, message: Message, parts: str, codec: str) -> Item:
    """The head of a message in parts.

    The text in place of the content tells users of the TypeScript kit what they see. If another text stands there
    later, a writer that does not know parts has edited the message.
    """
    head = {name: value for name, value in item.items() if name not in (names.METADATA, *CONTENT)}
    return {
        **head,
        names.CONTENT: {"S": _preview(message.content) + parts_note(parts)},
        names.CODEC: {"S": codec},
        names.PARTS: {"S": parts},
    }


def _preview(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content[:_PREVIEW_LENGTH]
    texts = (block["text"] for block in content if isinstance(block.get("text"), str))
    return next(texts, "")[:_PREVIEW_LENGTH]


def row_with_same_body(partition: str, message: Message, row: Item, *, revision: str) -> NewRow:
    """The row of a message in parts after an edit that does not touch its body."""
    place = keys.place_in(row)
    own_id = names.OWN_ID in row
    head = message_head(partition, place, message, own_id=own_id, revision=revision)
    item = {**head, **pick(row, _BODY_IN_PARTS)}
    return NewRow(message, place, item, item_size(item), own_id)


def part_keys(row: Item) -> list[Item]:
    """The keys of the parts that a row names."""
    if names.PARTS not in row:
        return []
    parts, _, count = row[names.PARTS]["S"].partition("#")
    partition = row[names.PARTITION_KEY]
    sorts = [keys.part(parts, number) for number in range(int(count))]
    return [{names.PARTITION_KEY: partition, names.SORT_KEY: {"S": sort}} for sort in sorts]


def join_parts(head: Item, parts: Sequence[Item | None]) -> Item | None:
    """A head with the body that its parts hold, or None if one is missing. An item without parts is whole."""
    pieces = [binary(part[names.DATA]["B"]) for part in parts if part is not None]
    if len(pieces) < len(parts):
        return None
    return {**head, names.BODY: {"B": b"".join(pieces)}} if parts else head


def check_batch_fits(rows: Sequence[NewRow], pointers: int, options: DynamoDBOptions) -> None:
    """Raises MessageTooLargeError if the messages together are too large for one transaction."""
    sizes = [(sum(row.size for row in rows), MAX_BATCH_BYTES)]
    parts = sum(len(row.parts) for row in rows)
    if parts and options.append == "atomic":
        room = options.transaction_items - 1 - len(rows) - pointers
        sizes.append((parts * PART_BYTES, max(0, room) * PART_BYTES))
    for size, limit in sizes:
        if size > limit:
            raise MessageTooLargeError(size=size, limit=limit)


def fits_transaction(parts: Sequence[Item], options: DynamoDBOptions, *, actions: int, size: int) -> bool:
    """Whether a transaction of so many other actions, on items of this size, can remove these parts too."""
    return (
        options.append == "atomic"
        and actions + len(parts) <= options.transaction_items
        and size + len(parts) * MAX_ITEM_BYTES <= MAX_BATCH_BYTES
    )


def is_system(row: Item) -> bool:
    """Whether a row is a system message."""
    return row.get(names.ROLE, {}).get("S") == "system"
