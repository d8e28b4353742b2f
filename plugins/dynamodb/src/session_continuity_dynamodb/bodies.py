"""Messages and items: text and blocks, and their compression. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal

from pydantic import TypeAdapter

from session_continuity import Message, MessageMetadata, ToolCall, ToolResult, format_timestamp
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.errors import UnreadableItemError
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.nested import from_json, json_text, loaded, to_json
from session_continuity_dynamodb.values import (
    Item,
    binary,
    decode,
    encode,
    fits,
    flag,
    integer,
    item_size,
    number,
    text,
    texts,
)

Compression = Literal["zlib", "zstd"]

PARTS = "parts"
"""The attribute of a message's item that names the parts which hold its body, see `parts.py`."""

_MESSAGE = TypeAdapter(Message).validator  # by itself: the model's own method adds a fifth to what a message takes
_WORTH_COMPRESSING = 2048
_PLAIN = "plain"
_BEGINNING = 200

_UNIT = 1024
BODY_FIELDS = frozenset({"content", "metadata"})
"""The fields of a message that its body holds."""

_HEAD = ("role", "tokenCount", "updatedAt", "rev", PARTS)
_CONTENT = ("content", "emptyText", "blocks", "body", "codec")
BODY = (*_HEAD, "metadata", *_CONTENT)
"""The attributes of a message's item that an edit writes."""

ATTRIBUTES = ("id", "createdAt", "ownId", *BODY)
"""All that a message's item is read for, beside its key."""


def message_item(
    keys_: Keys, message: Message, *, own_id: bool, compression: Compression | None, revision: str | None = None
) -> Item:
    """The item of a message. `own_id` notes that a pointer leads to it, `revision` tells one edit from the next."""
    head = message_head(keys_, message, own_id=own_id, revision=revision)
    return {**head, **message_body(message, compression)}


def message_head(keys_: Keys, message: Message, *, own_id: bool, revision: str | None) -> Item:
    """The item of a message without its content and metadata."""
    item: Item = {
        **keys_.item(message.session_id, keys.MESSAGE + keys.place(message.created_at, message.id)),
        "id": text(message.id),
        "sessionId": text(message.session_id),
        "role": text(message.role),
        "createdAt": text(format_timestamp(message.created_at)),
    }
    if message.token_count is not None:
        item["tokenCount"] = number(message.token_count)
    if message.updated_at is not None:
        item["updatedAt"] = text(format_timestamp(message.updated_at))
    if own_id:
        item["ownId"] = flag()
    if revision is not None:
        item["rev"] = text(revision)
    return item


def message_body(message: Message, compression: Compression | None) -> Item:
    content = _content(message.content)
    data = _metadata(message.metadata)
    if data:
        content["metadata"] = text(json_text(data))
    if compression is None or item_size(content) < _WORTH_COMPRESSING:
        return content
    body = [message.content, data]
    packed = _compress(json_text(body).encode(), compression)
    if len(packed) >= item_size(content):
        return content
    return {"body": {"B": packed}, "codec": text(compression)}


def packed_body(message: Message, item: Item) -> tuple[bytes, str]:
    """The body of the message with this item in one piece, and how it is packed."""
    if "body" in item:
        return binary(item["body"]["B"]), item["codec"]["S"]
    return json_text([message.content, _metadata(message.metadata)]).encode(), _PLAIN


def without_body(item: Item, message: Message, parts: str, codec: str) -> Item:
    """The head of a message whose body is in parts. The note in its place is for writers that know no parts: where
    something else stands there, they have edited the message since."""
    head = {name: value for name, value in item.items() if name not in ("metadata", *_CONTENT)}
    return {
        **head,
        "content": text(_beginning(message.content) + _note(parts)),
        "codec": text(codec),
        PARTS: text(parts),
    }


def _note(parts: str) -> str:
    return f" [in parts: {parts}]"


def _beginning(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content[:_BEGINNING]
    spoken = (block["text"] for block in content if isinstance(block.get("text"), str))
    return next(spoken, "")[:_BEGINNING]


def with_body(item: Item, body: bytes) -> Item:
    """The item with the body that its parts hold."""
    return {**item, "body": {"B": body}}


def way_to_body(head: Item) -> Item:
    """What leads to the body of a message that is in parts, and what other writers have put beside it."""
    return _part(head, (PARTS, "codec", "metadata", "content", "emptyText", "blocks"))


def _content(content: str | list[dict[str, Any]]) -> Item:
    """Text as text, blocks as a native list. What no engine holds natively is exact beside it: an empty text is an
    empty list with a mark, a block with an empty text or an odd number is JSON text under `blocks`."""
    if isinstance(content, str):
        return {"content": text(content)} if content else {"content": {"L": []}, "emptyText": flag()}
    plain = [block for block in content if fits(block)]
    exact: Item = {} if len(plain) == len(content) else {"blocks": text(json_text(content))}
    return {"content": encode(plain), **exact}


def _metadata(metadata: MessageMetadata) -> dict[str, Any]:
    data = to_json(metadata)
    for field, calls in (("toolCalls", metadata.tool_calls), ("toolResults", metadata.tool_results)):
        if calls:
            data[field] = [to_json(call) for call in calls]
    return data


def is_message(item: Item) -> bool:
    """Whether a row is a message, and not one that an edit of nothing left behind."""
    return item["SK"]["S"].startswith(keys.MESSAGE) and "id" in item and "createdAt" in item and "role" in item


def message_of(item: Item, session_id: str) -> Message:
    """The message in a row. One whose body is in parts has a note for content until `parts.whole` has read them."""
    try:
        return _message(item, session_id)
    except Exception as error:
        raise UnreadableItemError(item) from error


def _message(item: Item, session_id: str) -> Message:
    """One that is a text and nothing more, as most are, is read as the texts that the service sends: that costs
    least."""
    fields: dict[str, Any] = {
        "id": item["id"]["S"],
        "session_id": session_id,
        "role": item["role"]["S"],
        "metadata": {},  # stated, because a default takes longer
        "created_at": item["createdAt"]["S"],
    }
    if "N" in item.get("tokenCount", ()):
        digits = item["tokenCount"]["N"]
        fields["token_count"] = digits if digits.isdecimal() else str(integer(item, "tokenCount"))
    if "S" in item.get("updatedAt", ()):
        fields["updated_at"] = item["updatedAt"]["S"]
    if "metadata" not in item and "body" not in item and "S" in item.get("content", ()):
        fields["content"] = item["content"]["S"]
        plain: Message = _MESSAGE.validate_strings(fields)
        return plain
    fields["content"], metadata = _read_body(item)
    if "token_count" in fields:
        fields["token_count"] = int(fields["token_count"])
    if metadata:
        fields["metadata"] = _metadata_fields(metadata)
    return Message.model_validate(fields)


def _read_body(item: Item) -> tuple[Any, Any]:
    if "body" in item:
        content, data = json.loads(_decompress(binary(item["body"]["B"]), item["codec"]["S"]))
        return _edited_since(item, content, data) if PARTS in item else (content, data)
    data = loaded(item["metadata"]) if "metadata" in item else None
    if "blocks" in item:
        return json.loads(item["blocks"]["S"]), data
    content = item.get("content", {})
    if "S" in content:
        return content["S"], data
    return "" if "emptyText" in item or not content or "NULL" in content else decode(content), data


def _edited_since(item: Item, content: Any, data: Any) -> tuple[Any, Any]:
    """The body in parts, with what a writer that knows no parts has put beside it."""
    beside = item.get("content", {})
    if beside and not beside.get("S", "").endswith(_note(item[PARTS]["S"])):
        content = decode(beside)
    return content, loaded(item["metadata"]) if "metadata" in item else data


def _metadata_fields(data: Any) -> dict[str, Any]:
    fields = from_json(MessageMetadata, data)
    for name, model in (("tool_calls", ToolCall), ("tool_results", ToolResult)):
        entries: list[Any] | None = fields.get(name)
        if entries is not None:
            fields[name] = [from_json(model, entry) for entry in entries]
    return fields


def pointer_item(item: Item) -> Item:
    """Leads from an id that its caller chose to the message with this item.

    With it goes as much of the message as fits into the same unit: what an edit or a removal takes for granted, so that
    it need not read the message first. `lacks` names what did not fit.
    """
    pointer: Item = {
        "PK": item["PK"],
        "SK": text(keys.POINTER + item["id"]["S"]),
        "ref": text(keys.place_of(item)),
        **_part(item, _HEAD),
    }
    if PARTS in item:
        return {**pointer, "lacks": texts(BODY_FIELDS)}
    lacks = BODY_FIELDS if "body" in item else ["content"]
    some = {**pointer, **_part(item, ("metadata",))}
    for candidate in ({**some, **_part(item, _CONTENT)}, {**some, "lacks": texts(lacks)}):
        if item_size(candidate) <= _UNIT:
            return candidate
    return {**pointer, "lacks": texts(BODY_FIELDS)}


def _part(item: Item, attributes: Iterable[str]) -> Item:
    return {name: item[name] for name in attributes if name in item}


def pointed_at(pointer: Item) -> tuple[Item, frozenset[str]]:
    """A message's item as its pointer knows it, and the fields that it lacks."""
    place = pointer["ref"]["S"]
    item = {
        "PK": pointer["PK"],
        "SK": text(keys.MESSAGE + place),
        "id": text(pointer["SK"]["S"][len(keys.POINTER) :]),
        "createdAt": text(place[:24]),
        "ownId": flag(),
        **_part(pointer, BODY),
    }
    return item, frozenset(pointer.get("lacks", {}).get("SS", ()))


def _compress(data: bytes, compression: str) -> bytes:
    if compression == "zlib":
        return zlib.compress(data)
    packed: bytes = import_module("zstandard").ZstdCompressor().compress(data)
    return packed


def _decompress(data: bytes, codec: str) -> bytes:
    if codec == _PLAIN:
        return data
    if codec == "zlib":
        return zlib.decompress(data)
    plain: bytes = import_module("zstandard").ZstdDecompressor().decompress(data)
    return plain
