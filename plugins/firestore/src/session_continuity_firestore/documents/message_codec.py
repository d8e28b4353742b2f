"""Messages as documents, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError as PydanticError

from session_continuity import Message, MessageMetadata, Role, UnreadableError, stored_message
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.json_models import fields_of, list_fields, model_map, parse_json
from session_continuity_firestore.wire.messages import Document
from session_continuity_firestore.wire.values import Moment, decode, encode, encode_moment, fits, moment_value, time_of

Fields = dict[str, Any]
"""The fields of a document as wire values, None for one that is removed."""

EXACT_CONTENT: Final = names.CONTENT + names.EXACT

DAMAGE = (PydanticError, ValueError, KeyError, TypeError)
"""What reading a document raises that was damaged, or written by a newer version."""

_ROLES: Mapping[str, Role] = {role: role for role in get_args(Role)}
_read_message: Callable[[str], Message] = TypeAdapter(Message).validator.validate_json
_NO_METADATA = MessageMetadata()


@dataclass(frozen=True, slots=True)
class Row:
    """A message's document. `message` is None if it cannot be read. The rest is read from damaged documents too.

    `place` is None for a document that is not a message. `version` is the document's `updateTime`.
    """

    id: str
    name: str
    place: Moment | None
    role: str
    tokens: int
    version: Any
    write_id: str
    message: Message | None

    def readable(self, session_id: str) -> Message:
        """The message. Raises UnreadableError."""
        if self.message is None:
            raise UnreadableError(f"message {self.id!r} of session {session_id!r}")
        return self.message


def message_fields(message: Message, place: Moment) -> Fields:
    """The fields of a new message."""
    fields = {
        names.ID: encode(message.id),
        names.SESSION_ID: encode(message.session_id),
        names.CREATED_AT: encode_moment(place),
        **edited_fields(message, {"role", "content", "metadata", "token_count", "updated_at"}),
    }
    return {name: value for name, value in fields.items() if value is not None}


def edited_fields(message: Message, changed: frozenset[str] | set[str]) -> Fields:
    """The fields of a message that these fields of the model are written to."""
    fields: Fields = {}
    if "role" in changed:
        fields[names.ROLE] = encode(message.role)
    if "content" in changed:
        fields |= _content_fields(message.content)
    if "metadata" in changed:
        fields[names.METADATA] = encode(model_map(message.metadata))
    if "token_count" in changed:
        fields[names.TOKEN_COUNT] = None if message.token_count is None else encode(message.token_count)
    if "updated_at" in changed:
        fields[names.UPDATED_AT] = None if message.updated_at is None else encode(message.updated_at)
    return fields


def _content_fields(content: str | list[dict[str, Any]]) -> Fields:
    if isinstance(content, str):
        return {names.CONTENT: encode(content), EXACT_CONTENT: None}
    listed = list_fields(names.CONTENT, EXACT_CONTENT, content)
    return {name: None if value is None else encode(value) for name, value in listed.items()}


def row_of(document: Any, session_id: str) -> Row:
    """The row of a document."""
    fields = document.fields
    message_id = names.unescape(names.last_part(document.name))
    stated = _text(fields, names.ID)
    if stated and names.escape(stated) == names.last_part(document.name):
        message_id = stated
    return Row(
        id=message_id,
        name=document.name,
        place=place_of(document),
        role=_text(fields, names.ROLE),
        tokens=tokens_of(document),
        version=document.update_time,
        write_id=_text(fields, names.WRITE_ID),
        message=_message_of(document, message_id, session_id),
    )


def place_of(document: Any) -> Moment | None:
    """The place of a message, None for a document that is not one."""
    return moment_value(document.fields[names.CREATED_AT]) if names.CREATED_AT in document.fields else None


def tokens_of(document: Any) -> int:
    """The tokens of a message, 0 where they are not stated."""
    if names.TOKEN_COUNT not in document.fields:
        return 0
    value = document.fields[names.TOKEN_COUNT]
    return int(value.integer_value or value.double_value)


def copied_fields(document: Any, session_id: str) -> Fields:
    """The fields of a message for its copy in another session."""
    return {**{name: document.fields[name] for name in document.fields}, names.SESSION_ID: encode(session_id)}


def document_of(name: str, fields: Mapping[str, Any]) -> Any:
    """A document with these fields."""
    document = Document(name=name)
    for field, value in fields.items():
        if value is not None:
            document.fields[field].CopyFrom(value)
    return document


def _text(fields: Any, name: str) -> str:
    return fields[name].string_value if name in fields else ""


def _message_of(document: Any, message_id: str, session_id: str) -> Message | None:
    # The error is dropped here, because it quotes what is stored.
    try:
        return _read_text_message(document, message_id, session_id) or _read_any(document, message_id, session_id)
    except DAMAGE:
        return None


def _read_text_message(document: Any, message_id: str, session_id: str) -> Message | None:
    """A message that has text as content, and neither metadata nor a time of its last edit. Most are such."""
    fields = document.fields
    if names.UPDATED_AT in fields or (names.METADATA in fields and fields[names.METADATA].map_value.fields):
        return None
    content, tokens, place = fields.get(names.CONTENT), fields.get(names.TOKEN_COUNT), place_of(document)
    if content is None or tokens is None or place is None:
        return None
    if content.WhichOneof("kind") != "string_value" or tokens.WhichOneof("kind") != "integer_value":
        return None
    return stored_message(
        id=message_id,
        session_id=session_id,
        role=_ROLES[fields[names.ROLE].string_value],
        content=content.string_value,
        created_at=time_of(place),
        token_count=tokens.integer_value,
    )


def _read_any(document: Any, message_id: str, session_id: str) -> Message:
    values = {name: decode(document.fields[name]) for name in _READ if name in document.fields}
    data: dict[str, Any] = {
        "id": message_id,
        "session_id": session_id,
        "role": values.get(names.ROLE),
        "content": exact_list(values.get(names.CONTENT), values.get(EXACT_CONTENT)),
        "created_at": values.get(names.CREATED_AT),
        "token_count": _whole(values.get(names.TOKEN_COUNT)),
        "updated_at": values.get(names.UPDATED_AT),
    }
    if (metadata := values.get(names.METADATA)) is not None:
        data["metadata"] = fields_of(MessageMetadata, metadata)
    return _read_message(json.dumps(data))


_READ = (
    names.ROLE,
    names.CONTENT,
    EXACT_CONTENT,
    names.METADATA,
    names.CREATED_AT,
    names.TOKEN_COUNT,
    names.UPDATED_AT,
)
"""The fields of a message that are read, beside its name."""


def exact_list(native: Any, exact: Any) -> Any:
    """A list of which a part is native and all is JSON text, until another program writes the native one."""
    if not isinstance(exact, str):
        return native
    entries: list[Any] = parse_json(exact)
    plain = [entry for entry in entries if fits(entry, 2) and not isinstance(entry, list)]
    return entries if native in (plain, None) else native


def _whole(value: Any) -> Any:
    """A count. JavaScript writes some numbers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
