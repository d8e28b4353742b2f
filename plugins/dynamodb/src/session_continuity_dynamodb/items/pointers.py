"""Pointers: items that lead from an id that a caller chose to the message with it. Pure.

A pointer also holds as much of the message as fits into its one write unit. An edit or a removal takes that as its
first assumption about the message, and so need not read it first.
"""

from __future__ import annotations

from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.message_codec import BODY_FIELDS, CONTENT, EDITED, HEAD, pick
from session_continuity_dynamodb.items.places import TIMESTAMP_LENGTH
from session_continuity_dynamodb.items.values import YES, Item, item_size, string_set

_UNIT = 1024


def pointer_sort(message_id: str) -> str:
    """The sort key of the pointer to a message."""
    return keys.POINTER + message_id


def pointer_item(item: Item) -> Item:
    """The pointer to the message with this item. `lacks` names the fields of the message that did not fit."""
    pointer: Item = {
        names.PARTITION_KEY: item[names.PARTITION_KEY],
        names.SORT_KEY: {"S": pointer_sort(item[names.ID]["S"])},
        names.REF: {"S": keys.place_in(item)},
        **pick(item, HEAD),
    }
    headless = {**pointer, names.LACKS: string_set(BODY_FIELDS)}
    if names.PARTS in item:
        return headless
    some = {**pointer, **pick(item, (names.METADATA,))}
    lacks = BODY_FIELDS if names.BODY in item else ["content"]
    # The content is left out first: most edits replace it, and then need nothing but the metadata.
    for candidate in ({**some, **pick(item, CONTENT)}, {**some, names.LACKS: string_set(lacks)}):
        if item_size(candidate) <= _UNIT:
            return candidate
    return headless


def message_in_pointer(pointer: Item) -> tuple[Item, frozenset[str]]:
    """A message's item as its pointer has it, and the fields that it lacks."""
    place = pointer[names.REF]["S"]
    item = {
        names.PARTITION_KEY: pointer[names.PARTITION_KEY],
        names.SORT_KEY: {"S": keys.MESSAGE + place},
        names.ID: {"S": pointer[names.SORT_KEY]["S"][len(keys.POINTER) :]},
        names.CREATED_AT: {"S": place[:TIMESTAMP_LENGTH]},
        names.OWN_ID: YES,
        **pick(pointer, EDITED),
    }
    return item, frozenset(pointer.get(names.LACKS, {}).get("SS", ()))
