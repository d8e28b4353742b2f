"""Messages and their items: text, blocks, metadata, packed bodies. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal

from pydantic import TypeAdapter

from session_continuity import Message, MessageMetadata, ToolCall, ToolResult, UnreadableError, format_timestamp
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.errors import DAMAGE
from session_continuity_dynamodb.items.json_models import (
    build,
    fields_of,
    json_text,
    model_json,
    parse_json,
    read_json,
)
from session_continuity_dynamodb.items.places import TIMESTAMP_LENGTH
from session_continuity_dynamodb.items.text_messages import read_text_message
from session_continuity_dynamodb.items.values import (
    YES,
    Item,
    binary,
    decode,
    encode,
    fits,
    integer,
    item_size,
    string,
)

Compression = Literal["zlib", "zstd"]

BODY_FIELDS = frozenset({"content", "metadata"})
"""The fields of a message that its body holds."""

HEAD = (names.ROLE, names.TOKEN_COUNT, names.UPDATED_AT, names.REVISION, names.PARTS)
CONTENT = (names.CONTENT, names.EMPTY_TEXT, names.BLOCKS, names.BODY, names.CODEC)
EDITED = (*HEAD, names.METADATA, *CONTENT)
"""The attributes of a message's item that an edit writes."""

READ = (names.ID, names.CREATED_AT, names.OWN_ID, *EDITED)
"""The attributes of a message's item that are read, beside its key."""

PLAIN = "plain"
"""The codec of a body that is JSON text and not compressed."""

_WORTH_COMPRESSING = 2048
_MESSAGE = TypeAdapter(Message)


def message_item(
    partition: str,
    place: str,
    message: Message,
    *,
    own_id: bool,
    compression: Compression | None,
    revision: str | None = None,
    has_empty_texts: bool = False,
) -> Item:
    """The item of a message. With `own_id` a pointer leads to it. `revision` is the id of the edit that writes it.

    `has_empty_texts` says that the engine certainly stores empty texts, which old ones refuse.
    """
    head = message_head(partition, place, message, own_id=own_id, revision=revision)
    item = {**head, **_encode_body(message, compression)}
    if has_empty_texts and names.EMPTY_TEXT in item:
        del item[names.EMPTY_TEXT]
        item[names.CONTENT] = {"S": ""}
    return item


def message_head(partition: str, place: str, message: Message, *, own_id: bool, revision: str | None) -> Item:
    """The item of a message without its content and metadata."""
    item: Item = {
        names.PARTITION_KEY: {"S": partition},
        names.SORT_KEY: {"S": keys.MESSAGE + place},
        names.ID: {"S": message.id},
        names.SESSION_ID: {"S": message.session_id},
        names.ROLE: {"S": message.role},
        names.CREATED_AT: {"S": place[:TIMESTAMP_LENGTH]},
    }
    if message.token_count is not None:
        item[names.TOKEN_COUNT] = {"N": str(message.token_count)}
    if message.updated_at is not None:
        item[names.UPDATED_AT] = {"S": format_timestamp(message.updated_at)}
    if own_id:
        item[names.OWN_ID] = YES
    if revision is not None:
        item[names.REVISION] = {"S": revision}
    return item


def _encode_body(message: Message, compression: Compression | None) -> Item:
    body = _encode_content(message.content)
    data = _metadata_json(message.metadata)
    if data:
        body[names.METADATA] = {"S": json_text(data)}
    # Below this there is little to save: a message costs at least one unit.
    if compression is None or item_size(body) < _WORTH_COMPRESSING:
        return body
    packed = _compress(json_text([message.content, data]).encode(), compression)
    if len(packed) >= item_size(body):
        return body
    return {names.BODY: {"B": packed}, names.CODEC: {"S": compression}}


def _encode_content(content: str | list[dict[str, Any]]) -> Item:
    """Text as text, blocks as a native list, as the TypeScript kit writes them.

    Beside them lies what such an attribute cannot hold exactly: a mark for an empty text, and all of the blocks as
    JSON text if one of them does not fit.
    """
    if isinstance(content, str):
        return {names.CONTENT: {"S": content}} if content else {names.CONTENT: {"L": []}, names.EMPTY_TEXT: YES}
    plain = [block for block in content if fits(block)]
    exact: Item = {} if len(plain) == len(content) else {names.BLOCKS: {"S": json_text(content)}}
    return {names.CONTENT: encode(plain), **exact}


def _metadata_json(metadata: MessageMetadata) -> dict[str, Any]:
    if not (metadata.tool_calls or metadata.tool_results or metadata.annotations or metadata.__pydantic_extra__):
        return {}
    data = model_json(metadata)
    for field, calls in (("toolCalls", metadata.tool_calls), ("toolResults", metadata.tool_results)):
        if calls:
            data[field] = [model_json(call) for call in calls]
    return data


def packed_body(message: Message, item: Item) -> tuple[bytes, str]:
    """The whole body of the message with this item, and its codec."""
    if names.BODY in item:
        return binary(item[names.BODY]["B"]), item[names.CODEC]["S"]
    return json_text([message.content, _metadata_json(message.metadata)]).encode(), PLAIN


def is_message(item: Item) -> bool:
    """Whether a row is a whole message. An edit by another writer, of a message that does not exist, leaves a row that
    is not."""
    sort = item[names.SORT_KEY]["S"]
    return sort.startswith(keys.MESSAGE) and names.ID in item and names.CREATED_AT in item and names.ROLE in item


def message_of(item: Item, session_id: str) -> Message:
    """The message in a row. Raises UnreadableError.

    A body in parts must have been joined to the row before, otherwise a note stands in its place.
    """
    message = _readable(item, session_id)
    if message is None:
        raise UnreadableError(f"message {message_id_of(item)!r} of session {session_id!r}")
    return message


def messages_of(items: Iterable[Item], session_id: str) -> tuple[list[Message], list[str]]:
    """The messages in these rows, and the ids of those that cannot be read."""
    messages: list[Message] = []
    unreadable: list[str] = []
    for item in items:
        message = _readable(item, session_id)
        if message is None:
            unreadable.append(message_id_of(item))
        else:
            messages.append(message)
    return messages, unreadable


def message_id_of(item: Item) -> str:
    """The id of a message's row, or its key if that is damaged too."""
    return string(item, names.ID) or item[names.SORT_KEY]["S"]


def _readable(item: Item, session_id: str) -> Message | None:
    stated = item.get(names.SESSION_ID)
    if stated is None or stated.get("S") != session_id:  # of a pointer, or another writer's
        item = {**item, names.SESSION_ID: {"S": session_id}}
    try:
        return read_text_message(item) or _read_message(item)
    except DAMAGE:
        return None


def _read_message(item: Item) -> Message:
    """A message of any form."""
    fields: dict[str, Any] = {
        "id": item[names.ID]["S"],
        "session_id": item[names.SESSION_ID]["S"],
        "role": item[names.ROLE]["S"],
        "created_at": item[names.CREATED_AT]["S"],
    }
    if "N" in item.get(names.TOKEN_COUNT, ()):
        fields["token_count"] = integer(item, names.TOKEN_COUNT)
    if "S" in item.get(names.UPDATED_AT, ()):
        fields["updated_at"] = item[names.UPDATED_AT]["S"]
    fields["content"], metadata = _read_body(item)
    if metadata:
        fields["metadata"] = _metadata_fields(metadata)
    return build(_MESSAGE, fields)


def _read_body(item: Item) -> tuple[Any, Any]:
    """Content and metadata, as JSON values."""
    if names.BODY in item:
        content, data = parse_json(_decompress(binary(item[names.BODY]["B"]), item[names.CODEC]["S"]))
        return _with_later_edits(item, content, data)
    return _read_content(item), read_json(item.get(names.METADATA))


def _read_content(item: Item) -> Any:
    """The content. What lies exactly beside it counts only as long as nobody has edited the content alone."""
    content = item.get(names.CONTENT, {})
    if "S" in content:
        return content["S"]
    native = "" if not content or "NULL" in content else decode(content)
    if native == [] and names.EMPTY_TEXT in item:
        return ""
    if names.BLOCKS in item:
        exact = parse_json(item[names.BLOCKS]["S"])
        return exact if native in ([block for block in exact if fits(block)], "") else native
    return native


def _with_later_edits(item: Item, content: Any, data: Any) -> tuple[Any, Any]:
    """The packed body, with what a writer that does not know it has put beside it since."""
    beside = item.get(names.CONTENT, {})
    note = parts_note(item[names.PARTS]["S"]) if names.PARTS in item else None
    if beside and (note is None or not beside.get("S", "").endswith(note)):
        content = decode(beside)
    return content, read_json(item[names.METADATA]) if names.METADATA in item else data


def parts_note(parts: str) -> str:
    """The end of the text that stands for a body in parts. An edit by another writer replaces it."""
    return f" [in parts: {parts}]"


def _metadata_fields(data: Any) -> dict[str, Any]:
    fields = fields_of(MessageMetadata, data)
    for name, model in (("tool_calls", ToolCall), ("tool_results", ToolResult)):
        entries: list[Any] | None = fields.get(name)
        if entries is not None:
            fields[name] = [fields_of(model, entry) for entry in entries]
    return fields


def pick(item: Item, attributes: Iterable[str]) -> Item:
    """These attributes of an item, as far as it has them."""
    return {name: item[name] for name in attributes if name in item}


def _compress(data: bytes, codec: str) -> bytes:
    if codec == "zlib":
        return zlib.compress(data)
    packed: bytes = import_module("zstandard").ZstdCompressor().compress(data)
    return packed


def _decompress(data: bytes, codec: str) -> bytes:
    if codec == PLAIN:
        return data
    if codec == "zlib":
        return zlib.decompress(data)
    zstandard = import_module("zstandard")
    try:
        plain: bytes = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(codec) from error
    return plain
