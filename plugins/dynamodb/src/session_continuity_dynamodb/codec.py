"""Sessions and META, which holds a session without its totals. Pure.

What the TypeScript kit also writes has its names and formats: camelCase, times as `…sssZ`, `expiresAt` as a number of
seconds, `metadata` and `participants` as JSON text, budgets and compression as native maps. The rest is ours: its
reader leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from session_continuity import (
    CompressionConfig,
    CompressionState,
    Handoff,
    Participant,
    Session,
    SessionMetadata,
    TokenBudget,
    format_timestamp,
)
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.activity import DELETING, Activity
from session_continuity_dynamodb.errors import UnreadableItemError
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.nested import from_json, from_native, json_text, loaded, native, to_json
from session_continuity_dynamodb.values import (
    Item,
    Value,
    flag,
    integer,
    number,
    seconds,
    string,
    text,
    time_of,
    whole_seconds,
)


def meta_item(keys_: Keys, session: Session) -> Item:
    """META of a new session."""
    fields = {name: getattr(session, name) for name in _WRITERS}
    changes = session_changes(keys_, session, fields)
    return {
        **keys_.item(session.id, keys.META),
        **{attribute: value for attribute, value in changes.items() if value is not None},
        "id": text(session.id),
        "schemaVersion": number(1),
        "version": number(session.version),
        "createdAt": text(format_timestamp(session.created_at)),
        "lastActivityAt": text(format_timestamp(session.last_activity_at)),
        "GSI1SK": text(keys.user_sort(session)),
        "adopted": flag(),
    }


def marker_item(keys_: Keys, session_id: str, expires_at: datetime) -> Item:
    """The marker by which an expired session is found without reading the table."""
    return {
        **keys_.item(session_id, keys.EXPIRY),
        "GSI1PK": text(keys_.shard_of(session_id)),
        "GSI1SK": text(keys.expiry_sort(session_id, expires_at)),
    }


def _user(keys_: Keys, _: Session, user: str | None) -> dict[str, Value | None]:
    if user is None:
        return {"userId": None, "GSI1PK": None}
    return {"userId": text(user), "GSI1PK": text(keys_.user(user))}


def _agent(keys_: Keys, _: Session, agent: str | None) -> dict[str, Value | None]:
    if agent is None:
        return {"activeAgentId": None, "GSI2PK": None}
    return {"activeAgentId": text(agent), "GSI2PK": text(keys_.agent(agent))}


def _status(_: Keys, session: Session, status: Any) -> dict[str, Value | None]:
    return {"status": text(status), "GSI2SK": text(keys.agent_sort(session, status))}


def _expiry(_: Keys, __: Session, expires_at: datetime | None) -> dict[str, Value | None]:
    if expires_at is None:
        return {"expiresAt": None, "ttl": None}
    return {"expiresAt": seconds(expires_at), "ttl": whole_seconds(expires_at)}


def _sliding(_: Keys, __: Session, ttl: float | None) -> dict[str, Value | None]:
    return {"slidingTtl": None if ttl is None else text(repr(ttl))}


def _listed(attribute: str, *, always: bool) -> Any:
    def write(_: Keys, __: Session, models: list[BaseModel]) -> dict[str, Value | None]:
        found = text(json_text([to_json(model) for model in models])) if models or always else None
        return {attribute: found}

    return write


def _mapped(attribute: str) -> Any:
    def write(_: Keys, __: Session, model: BaseModel | None) -> dict[str, Value | None]:
        return {attribute: None if model is None else native(model)}

    return write


def _metadata(_: Keys, __: Session, metadata: SessionMetadata) -> dict[str, Value | None]:
    return {"metadata": text(json_text(to_json(metadata)))}


_WRITERS: dict[str, Any] = {
    "user_id": _user,
    "active_agent_id": _agent,
    "status": _status,
    "expires_at": _expiry,
    "metadata": _metadata,
    "participants": _listed("participants", always=True),
    "handoffs": _listed("handoffs", always=False),
    "token_budget": _mapped("tokenBudget"),
    "compression": _mapped("compression"),
    "compression_state": _mapped("compressionState"),
    "sliding_ttl": _sliding,
}


def session_changes(keys_: Keys, session: Session | None, fields: Mapping[str, Any]) -> dict[str, Value | None]:
    """The attributes of META that follow from these fields; None removes one. `status` needs the `session`, because
    its index key holds the time of creation."""
    changes: dict[str, Value | None] = {}
    for name, value in fields.items():
        changes.update(_WRITERS[name](keys_, session, value))
    return changes


def _models(model: type[BaseModel], value: Value | None) -> list[dict[str, Any]]:
    entries: list[Any] = loaded(value) or []
    return [from_json(model, entry) for entry in entries]


def _compression_state(value: Value | None) -> CompressionState | None:
    """A summary cache; None for the TypeScript kit's, which stands for its own way of compressing."""
    data = from_native(value)
    if data is None:
        return None
    try:
        return CompressionState.model_validate(from_json(CompressionState, data))
    except ValidationError:
        return None


def _optional(model: type[BaseModel], value: Value | None) -> dict[str, Any] | None:
    data = from_native(value)
    return None if data is None else from_json(model, data)


LOOKS_WHOLE = frozenset({"id", "createdAt", "metadata", "participants", "schemaVersion"})
"""An index row that has these is taken for all of META; one that lacks any is read on."""


def is_session(meta: Item | None) -> bool:
    """Whether META is a session's, and not a row that an update of nothing left behind, nor a tombstone."""
    return meta is not None and "id" in meta and "createdAt" in meta and DELETING not in meta


def session_of(meta: Item, activity: Activity | None) -> Session:
    """The session in META, with the totals of its activity item; what writers that know no activity item have
    counted on META since is added."""
    try:
        return _session(meta, activity)
    except Exception as error:
        raise UnreadableItemError(meta) from error


def _session(meta: Item, activity: Activity | None) -> Session:
    messages, tokens = integer(meta, "messageCount"), integer(meta, "tokenCount")
    latest = string(meta, "lastActivityAt") or meta["createdAt"]["S"]
    system: list[str] = []
    if activity is not None:
        messages += activity.messages - activity.base_messages
        tokens += activity.tokens - activity.base_tokens
        latest = max(latest, activity.last_activity_at or "")
        system = [keys.place_id(place) for place in activity.system_places]
    return Session.model_validate(
        {
            "id": meta["id"]["S"],
            "user_id": string(meta, "userId"),
            "active_agent_id": string(meta, "activeAgentId"),
            "status": string(meta, "status") or "active",
            "metadata": from_json(SessionMetadata, loaded(meta.get("metadata"))),
            "participants": _models(Participant, meta.get("participants")),
            "handoffs": _models(Handoff, meta.get("handoffs")),
            "token_budget": _optional(TokenBudget, meta.get("tokenBudget")),
            "compression": _optional(CompressionConfig, meta.get("compression")),
            "compression_state": _compression_state(meta.get("compressionState")),
            "created_at": meta["createdAt"]["S"],
            "last_activity_at": latest,
            "expires_at": time_of(meta.get("expiresAt")),
            "sliding_ttl": None if (sliding := string(meta, "slidingTtl")) is None else float(sliding),
            "version": max(1, integer(meta, "version", 1)),
            "message_count": max(0, messages),
            "token_count": max(0, tokens),
            "system_message_ids": system,
        }
    )
