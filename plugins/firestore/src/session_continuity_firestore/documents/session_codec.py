"""Sessions as documents, called META, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError as PydanticError

from session_continuity import (
    CompressionConfig,
    CompressionState,
    ForkedFrom,
    Handoff,
    Participant,
    Session,
    SessionMetadata,
    TokenBudget,
    UnreadableError,
)
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.json_models import fields_of, list_fields, model_map
from session_continuity_firestore.documents.message_codec import DAMAGE, Fields, exact_list
from session_continuity_firestore.wire.values import Moment, decode, encode, texts

_read_session: Callable[[str], Session] = TypeAdapter(Session).validator.validate_json
_read_state: Callable[[str], CompressionState] = TypeAdapter(CompressionState).validator.validate_json

EXACT_PARTICIPANTS: Final = names.PARTICIPANTS + names.EXACT
EXACT_HANDOFFS: Final = names.HANDOFFS + names.EXACT


def session_fields(session: Session) -> Fields:
    """The fields of a new session, without what the gate holds."""
    fields = {
        names.ID: encode(session.id),
        names.SCHEMA_VERSION: encode(1),
        names.CREATED_AT: encode(session.created_at),
        names.CREATION_TOKEN: _optional(session.creation_token),
        names.FORKED_FROM: _optional_map(session.forked_from),
        **changed_fields(session, _WRITERS),
    }
    return {name: value for name, value in fields.items() if value is not None}


def changed_fields(session: Session, changed: Iterable[str]) -> Fields:
    """The fields of META that these fields of the model are written to."""
    fields: Fields = {}
    for name in changed:
        fields |= _WRITERS[name](getattr(session, name))
    return fields


def _optional(value: Any) -> Any:
    return None if value is None else encode(value)


def _optional_map(model: BaseModel | None) -> Any:
    return None if model is None else encode(model_map(model))


def _value(field: str) -> Callable[[Any], Fields]:
    return lambda value: {field: _optional(value)}


def _map(field: str) -> Callable[[Any], Fields]:
    return lambda model: {field: _optional_map(model)}


def _list(field: str, exact: str) -> Callable[[Any], Fields]:
    def write(models: list[BaseModel]) -> Fields:
        listed = list_fields(field, exact, [model_map(model) for model in models])
        return {name: _optional(value) for name, value in listed.items()}

    return write


_WRITERS: Mapping[str, Callable[[Any], Fields]] = {
    "user_id": _value(names.USER_ID),
    "active_agent_id": _value(names.AGENT_ID),
    "status": _value(names.STATUS),
    "metadata": _map(names.METADATA),
    "participants": _list(names.PARTICIPANTS, EXACT_PARTICIPANTS),
    "handoffs": _list(names.HANDOFFS, EXACT_HANDOFFS),
    "token_budget": _map(names.TOKEN_BUDGET),
    "compression": _map(names.COMPRESSION),
    "compression_state": _map(names.COMPRESSION_STATE),
    "expires_at": lambda value: {names.EXPIRES_AT: encode(value)},  # null where it is None, as the kit writes it
    "sliding_ttl": _value(names.SLIDING_TTL),
}


def is_session(document: Any) -> bool:
    """Whether a document is META of a session that is there: neither being deleted nor an incomplete fork."""
    return names.CREATED_AT in document.fields and names.DELETING_AT not in document.fields


def session_of(document: Any) -> Session:
    """The session of META. Raises UnreadableError."""
    session = readable_session(document)
    if session is None:
        raise UnreadableError(f"session {names.unescape(names.last_part(document.name))!r}")
    return session


def readable_session(document: Any) -> Session | None:
    """The session of META, None if it cannot be read."""
    # The error is dropped here, because it quotes what is stored.
    try:
        return _session(document)
    except DAMAGE:
        return None


def _session(document: Any) -> Session:
    values = {name: decode(document.fields[name]) for name in _READ if name in document.fields}
    data: dict[str, Any] = {
        "id": values.get(names.ID) or names.unescape(names.last_part(document.name)),
        "user_id": values.get(names.USER_ID),
        "active_agent_id": values.get(names.AGENT_ID),
        "status": values.get(names.STATUS) or "active",
        "metadata": fields_of(SessionMetadata, values.get(names.METADATA) or {}),
        "participants": _models(Participant, exact_list(*_both(values, names.PARTICIPANTS))),
        "handoffs": _models(Handoff, exact_list(*_both(values, names.HANDOFFS))),
        "token_budget": _fields(TokenBudget, values.get(names.TOKEN_BUDGET)),
        "compression": _fields(CompressionConfig, values.get(names.COMPRESSION)),
        "compression_state": _compression_state(values.get(names.COMPRESSION_STATE)),
        "created_at": values[names.CREATED_AT],
        "last_activity_at": values.get(names.LAST_ACTIVITY_AT) or values[names.CREATED_AT],
        "expires_at": values.get(names.EXPIRES_AT),
        "sliding_ttl": values.get(names.SLIDING_TTL),
        "creation_token": values.get(names.CREATION_TOKEN),
        "version": max(1, int(values.get(names.VERSION) or 1)),
        "message_count": max(0, int(values.get(names.MESSAGE_COUNT) or 0)),
        "token_count": max(0, int(values.get(names.TOKEN_COUNT) or 0)),
        "system_message_ids": [message_id for _, message_id in system_messages(document)],
        "forked_from": _fields(ForkedFrom, values.get(names.FORKED_FROM)),
    }
    return _read_session(json.dumps(data))


_READ = (
    names.ID,
    names.USER_ID,
    names.AGENT_ID,
    names.STATUS,
    names.METADATA,
    names.PARTICIPANTS,
    EXACT_PARTICIPANTS,
    names.HANDOFFS,
    EXACT_HANDOFFS,
    names.TOKEN_BUDGET,
    names.COMPRESSION,
    names.COMPRESSION_STATE,
    names.CREATED_AT,
    names.LAST_ACTIVITY_AT,
    names.EXPIRES_AT,
    names.SLIDING_TTL,
    names.CREATION_TOKEN,
    names.VERSION,
    names.MESSAGE_COUNT,
    names.TOKEN_COUNT,
    names.FORKED_FROM,
)
"""The fields of a session that are read, beside its system messages."""

SESSION_FIELDS = (*_READ, names.SYSTEM_MESSAGES, names.DELETING_AT)
"""The fields of META that a session is made of."""


def _both(values: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    return values.get(name), values.get(name + names.EXACT)


def _models(model: type[BaseModel], entries: Any) -> list[dict[str, Any]]:
    return [fields_of(model, entry) for entry in entries or ()]


def _fields(model: type[BaseModel], value: Any) -> dict[str, Any] | None:
    return None if value is None else fields_of(model, value)


def _compression_state(value: Any) -> dict[str, Any] | None:
    """The fields of a cached summary, or None for the TypeScript kit's, which means something else."""
    fields = _fields(CompressionState, value)
    if fields is None:
        return None
    try:
        _read_state(json.dumps(fields))
    except PydanticError:
        return None
    return fields


def system_message(place: Moment, message_id: str) -> str:
    """The entry of a message in the list of system messages."""
    return f"{place} {message_id}"


def system_messages(document: Any) -> list[tuple[int, str]]:
    """The places and ids of the system messages, in order."""
    if names.SYSTEM_MESSAGES not in document.fields:
        return []
    entries = (text.partition(" ") for text in texts(document.fields[names.SYSTEM_MESSAGES]))
    return sorted((int(place), message_id) for place, _, message_id in entries)
