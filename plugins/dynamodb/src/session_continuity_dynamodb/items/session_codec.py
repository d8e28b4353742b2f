"""Sessions and META items, which hold a session without its totals. Pure.

What the TypeScript kit also writes has the kit's names and formats: camelCase, times as `…sssZ`, `expiresAt` in
seconds, `metadata` and `participants` as JSON text, budget and compression as native maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

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
    format_timestamp,
)
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters
from session_continuity_dynamodb.items.errors import DAMAGE
from session_continuity_dynamodb.items.json_models import (
    build,
    fields_of,
    json_text,
    map_json,
    model_json,
    model_map,
    read_json,
)
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.places import id_in
from session_continuity_dynamodb.items.values import (
    YES,
    Item,
    Value,
    integer,
    number,
    seconds,
    string,
    time_of,
    whole_seconds,
)

Attributes = dict[str, Value | None]
"""Attributes to set, or to remove where the value is None."""

_SESSION = TypeAdapter(Session)
_COMPRESSION_STATE = TypeAdapter(CompressionState)

IS_WHOLE = frozenset({names.ID, names.CREATED_AT, names.METADATA, names.PARTICIPANTS, names.SCHEMA_VERSION})
"""An index row with these attributes is used as all of META. For a row without one of them, META is read."""


def meta_item(keys_: Keys, session: Session) -> Item:
    """META of a new session."""
    fields = {name: getattr(session, name) for name in _WRITERS}
    changes = session_changes(keys_, session, fields)
    return {
        **keys_.item(session.id, keys.META),
        **{attribute: value for attribute, value in changes.items() if value is not None},
        names.ID: {"S": session.id},
        names.SCHEMA_VERSION: number(1),
        names.VERSION: number(session.version),
        names.CREATED_AT: {"S": format_timestamp(session.created_at)},
        names.LAST_ACTIVITY_AT: {"S": format_timestamp(session.last_activity_at)},
        keys.USER_SORT: {"S": keys.user_sort(session)},
        **_creation_token(session),
        **_origin(session),
        names.ADOPTED: YES,  # its counters are written by the same transaction
    }


def _creation_token(session: Session) -> Item:
    return {} if session.creation_token is None else {names.CREATION_TOKEN: {"S": session.creation_token}}


def _origin(session: Session) -> Item:
    return {} if session.forked_from is None else {names.FORKED_FROM: model_map(session.forked_from)}


def link_item(keys_: Keys, fork: Session, source_id: str) -> Item:
    """The item in the partition of a fork's source by which its forks are listed."""
    item = link_key(keys_, link_of(fork, source_id), fork.id)
    through = None if fork.forked_from is None else fork.forked_from.message_id
    return {
        **item,
        names.FORK_ID: {"S": fork.id},
        names.CREATED_AT: {"S": format_timestamp(fork.created_at)},
        **({} if through is None else {names.FORK_MESSAGE: {"S": through}}),
    }


def link_of(fork: Session, source_id: str) -> str:
    """What the counters of a fork keep of its link."""
    return f"{format_timestamp(fork.created_at)}#{source_id}"


def link_key(keys_: Keys, link: str, fork_id: str) -> Item:
    """The key of the link of a fork with this `link_of`."""
    created_at, _, source_id = link.partition("#")
    return keys_.item(source_id, f"{keys.FORK}{created_at}#{fork_id}")


def marker_item(keys_: Keys, session_id: str, expires_at: datetime) -> Item:
    """The marker by which an expired session is found without reading the table."""
    return {
        **keys_.item(session_id, keys.EXPIRY),
        keys.USER_PARTITION: {"S": keys_.shard_of(session_id)},
        keys.USER_SORT: {"S": keys.expiry_sort(session_id, expires_at)},
    }


def _write_user(keys_: Keys, _: Session, user: str | None) -> Attributes:
    if user is None:
        return {names.USER_ID: None, keys.USER_PARTITION: None}
    return {names.USER_ID: {"S": user}, keys.USER_PARTITION: {"S": keys_.user(user)}}


def _write_agent(keys_: Keys, _: Session, agent: str | None) -> Attributes:
    if agent is None:
        return {names.ACTIVE_AGENT_ID: None, keys.AGENT_PARTITION: None}
    return {names.ACTIVE_AGENT_ID: {"S": agent}, keys.AGENT_PARTITION: {"S": keys_.agent(agent)}}


def _write_status(_: Keys, session: Session, status: Any) -> Attributes:
    return {names.STATUS: {"S": status}, keys.AGENT_SORT: {"S": keys.agent_sort(session, status)}}


def _write_expiry(_: Keys, __: Session, expires_at: datetime | None) -> Attributes:
    if expires_at is None:
        return {names.EXPIRES_AT: None, names.TTL: None}
    return {names.EXPIRES_AT: seconds(expires_at), names.TTL: whole_seconds(expires_at)}


def _write_sliding_ttl(_: Keys, __: Session, ttl: float | None) -> Attributes:
    # As text: a DynamoDB number has a decimal notation, in which not every float comes back exactly.
    return {names.SLIDING_TTL: None if ttl is None else {"S": repr(ttl)}}


def _write_metadata(_: Keys, __: Session, metadata: SessionMetadata) -> Attributes:
    return {names.METADATA: {"S": json_text(model_json(metadata))}}


def _list_writer(attribute: str, *, always: bool) -> Any:
    def write(_: Keys, __: Session, models: list[BaseModel]) -> Attributes:
        is_written = models or always
        return {attribute: {"S": json_text([model_json(model) for model in models])} if is_written else None}

    return write


def _map_writer(attribute: str) -> Any:
    def write(_: Keys, __: Session, model: BaseModel | None) -> Attributes:
        return {attribute: None if model is None else model_map(model)}

    return write


_WRITERS: dict[str, Any] = {
    "user_id": _write_user,
    "active_agent_id": _write_agent,
    "status": _write_status,
    "expires_at": _write_expiry,
    "metadata": _write_metadata,
    "participants": _list_writer(names.PARTICIPANTS, always=True),
    "handoffs": _list_writer(names.HANDOFFS, always=False),
    "token_budget": _map_writer(names.TOKEN_BUDGET),
    "compression": _map_writer(names.COMPRESSION),
    "compression_state": _map_writer(names.COMPRESSION_STATE),
    "sliding_ttl": _write_sliding_ttl,
}


def session_changes(keys_: Keys, session: Session | None, fields: Mapping[str, Any]) -> Attributes:
    """The attributes of META for these fields. `status` needs the session, whose `created_at` is in the index key."""
    changes: Attributes = {}
    for name, value in fields.items():
        changes.update(_WRITERS[name](keys_, session, value))
    return changes


def is_session(meta: Item | None) -> bool:
    """Whether an item is META of a session that is not being deleted.

    An update by another writer, of a session that does not exist, leaves an item without these attributes.
    """
    return meta is not None and names.ID in meta and names.CREATED_AT in meta and names.DELETING not in meta


def session_of(meta: Item, counters: Counters | None) -> Session:
    """The session in META with the totals of its counters.

    Writers that do not know the counters item count on META. What they have counted since that item was created is
    added. Raises UnreadableError.
    """
    with suppress(*DAMAGE):
        return _session(meta, counters)
    raise UnreadableError(f"session {session_id_of(meta)!r}")


def session_id_of(meta: Item) -> str:
    """The id of a session's META, or its key if that is damaged too."""
    return string(meta, names.ID) or meta[names.PARTITION_KEY]["S"]


def _session(meta: Item, counters: Counters | None) -> Session:
    messages, tokens = integer(meta, names.MESSAGE_COUNT), integer(meta, names.TOKEN_COUNT)
    latest = string(meta, names.LAST_ACTIVITY_AT) or meta[names.CREATED_AT]["S"]
    system: list[str] = []
    if counters is not None:
        messages += counters.messages - counters.base_messages
        tokens += counters.tokens - counters.base_tokens
        latest = max(latest, counters.last_activity_at or "")
        system = [id_in(place) for place in counters.system_places]
    sliding = string(meta, names.SLIDING_TTL)
    fields: dict[str, Any] = {
        "id": meta[names.ID]["S"],
        "user_id": string(meta, names.USER_ID),
        "active_agent_id": string(meta, names.ACTIVE_AGENT_ID),
        "status": string(meta, names.STATUS) or "active",
        "metadata": fields_of(SessionMetadata, read_json(meta.get(names.METADATA))),
        "participants": _read_models(Participant, meta.get(names.PARTICIPANTS)),
        "handoffs": _read_models(Handoff, meta.get(names.HANDOFFS)),
        "token_budget": _read_map(TokenBudget, meta.get(names.TOKEN_BUDGET)),
        "compression": _read_map(CompressionConfig, meta.get(names.COMPRESSION)),
        "compression_state": _read_compression_state(meta.get(names.COMPRESSION_STATE)),
        "created_at": meta[names.CREATED_AT]["S"],
        "last_activity_at": latest,
        "expires_at": time_of(meta.get(names.EXPIRES_AT)),
        "sliding_ttl": None if sliding is None else float(sliding),
        "forked_from": _read_map(ForkedFrom, meta.get(names.FORKED_FROM)),
        "creation_token": string(meta, names.CREATION_TOKEN),
        "version": max(1, integer(meta, names.VERSION, 1)),
        "message_count": max(0, messages),
        "token_count": max(0, tokens),
        "system_message_ids": system,
    }
    return build(_SESSION, fields)


def _read_models(model: type[BaseModel], value: Value | None) -> list[dict[str, Any]]:
    if value is None:
        return []
    return [fields_of(model, entry) for entry in read_json(value) or ()]


def _read_map(model: type[BaseModel], value: Value | None) -> dict[str, Any] | None:
    data = map_json(value)
    return None if data is None else fields_of(model, data)


def _read_compression_state(value: Value | None) -> dict[str, Any] | None:
    """The fields of a cached summary, or None for the TypeScript kit's, which means something else."""
    fields = _read_map(CompressionState, value)
    if fields is None:
        return None
    try:
        build(_COMPRESSION_STATE, fields)
    except ValidationError:
        return None
    return fields
