"""Models and items: the only file that names attributes. Pure.

What the TypeScript kit also writes has its names and formats: camelCase, times as `…sssZ`, `expiresAt` as a number of
seconds, `metadata` and `participants` as JSON text, budgets and compression as native maps. The rest is ours: its
reader leaves it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

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
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.values import (
    Item,
    Value,
    decode,
    decode_number,
    encode,
    fits,
    flag,
    number,
    text,
    texts,
)

UNLIMITED = 10**18
"""The tokens left where no hard limit is set, so that one condition serves both cases."""

DELETING = "deleting"
"""The status of an activity item whose session is being deleted, and the attribute of META that says so."""

OPEN_STATUSES = ("active", "paused")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_REST = "~"


def seconds(moment: datetime) -> Value:
    """A time as DynamoDB compares it: seconds since 1970, exact to the millisecond."""
    return number(Decimal((moment - _EPOCH) // _MILLISECOND) / 1000)


def time_of(value: Value | None) -> datetime | None:
    """A stored expiry: a number of seconds, or the ISO text that the TypeScript kit leaves after an update."""
    if value is None or "NULL" in value:
        return None
    if "S" in value:
        return datetime.fromisoformat(value["S"])
    return _EPOCH + int(Decimal(value["N"]) * 1000) * _MILLISECOND


def integer(item: Item, attribute: str, default: int = 0) -> int:
    found = item.get(attribute)
    return default if found is None else int(decode_number(found["N"]))


def string(item: Item, attribute: str) -> str | None:
    """The text of an attribute; None where it is missing or something else."""
    return item.get(attribute, {}).get("S")


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


# --- names inside JSON


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def to_json(model: BaseModel) -> dict[str, Any]:
    """A model as JSON under camelCase names, without fields at an empty default; the caller's own keys as they are,
    apart under `~` where one of them looks like a field."""
    fields = type(model).model_fields
    typed = {
        camel(name): value
        for name, value in model.model_dump(mode="json", include=set(fields)).items()
        if value or value != fields[name].get_default(call_default_factory=True) or value == ""
    }
    extra = model.__pydantic_extra__ or {}
    reserved = {_REST, *map(camel, type(model).model_fields)}
    return {**typed, _REST: extra} if not reserved.isdisjoint(extra) else {**typed, **extra}


def from_json(model: type[BaseModel], data: Any) -> dict[str, Any]:
    """What `to_json` made, or what the TypeScript kit wrote, as fields of the model; a closed model's unknown keys
    are left out."""
    if not isinstance(data, dict):
        return {}
    held = dict(cast("dict[str, Any]", data))
    own: dict[str, Any] = held.pop(_REST, {}) if isinstance(held.get(_REST), dict) else {}
    fields = {camel(name): name for name in model.model_fields}
    typed = {fields[key]: value for key, value in held.items() if key in fields and value is not None}
    if model.model_config.get("extra") == "allow":
        own = {**{key: value for key, value in held.items() if key not in fields}, **own}
        return {**own, **typed}
    return typed


def native(model: BaseModel) -> Value:
    """A model as a native map; what no native attribute can hold is JSON text under `~`."""
    data = to_json(model)
    plain = {key: value for key, value in data.items() if key != _REST and key and fits(value)}
    rest = {key: value for key, value in data.items() if key not in plain}
    return {"M": {**encode(plain)["M"], **({_REST: text(json_text(rest))} if rest else {})}}


def from_native(value: Value | None) -> dict[str, Any] | None:
    if value is None or "NULL" in value:
        return None
    data = json.loads(value["S"]) if "S" in value else decode(value)
    rest = data.pop(_REST, None)
    return {**data, **json.loads(rest)} if isinstance(rest, str) else data


def loaded(value: Value | None) -> Any:
    """JSON text, or the native value that some writers put in its place."""
    if value is None:
        return None
    return json.loads(value["S"]) if "S" in value else decode(value)


# --- sessions


def meta_item(keys_: Keys, session: Session) -> Item:
    """META of a new session."""
    fields = {name: getattr(session, name) for name in _WRITERS}
    changes = session_changes(keys_, session, fields)
    return {
        **meta_key(keys_, session.id),
        **{attribute: value for attribute, value in changes.items() if value is not None},
        "id": text(session.id),
        "schemaVersion": number(1),
        "version": number(session.version),
        "createdAt": text(format_timestamp(session.created_at)),
        "lastActivityAt": text(format_timestamp(session.last_activity_at)),
        "GSI1SK": text(keys.user_sort(session)),
        "adopted": flag(),
    }


def meta_key(keys_: Keys, session_id: str) -> Item:
    return item_key(keys_, session_id, keys.META)


def activity_key(keys_: Keys, session_id: str) -> Item:
    return item_key(keys_, session_id, keys.ACTIVITY)


def item_key(keys_: Keys, session_id: str, sort: str) -> Item:
    return {"PK": text(keys_.partition(session_id)), "SK": text(sort)}


def marker_item(keys_: Keys, session_id: str, expires_at: datetime) -> Item:
    """The marker by which an expired session is found without reading the table."""
    return {
        **item_key(keys_, session_id, keys.EXPIRY),
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
    up = -((_EPOCH - expires_at) // timedelta(seconds=1))
    return {"expiresAt": seconds(expires_at), "ttl": number(up)}


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


def is_session(meta: Item | None) -> bool:
    """Whether META is a session's, and not a row that an update of nothing left behind, nor a tombstone."""
    return meta is not None and "id" in meta and "createdAt" in meta and DELETING not in meta


def session_of(meta: Item, activity: Activity | None) -> Session:
    """The session in META, with the totals of its activity item; what writers that know no activity item have
    counted on META since is added."""
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
            "sliding_ttl": string(meta, "slidingTtl"),
            "version": max(1, integer(meta, "version", 1)),
            "message_count": max(0, messages),
            "token_count": max(0, tokens),
            "system_message_ids": system,
        }
    )


# --- activity


@dataclass(frozen=True, slots=True)
class Activity:
    """What appends change and check: totals, the last place, and the gate copied from META.

    The base counts are those that META held when this item was made; `foreign` says that there are messages then
    whose place neither their id nor a pointer tells.
    """

    status: str
    expires_at: datetime | None
    last_place: str = keys.NO_MESSAGE
    last_activity_at: str | None = None
    messages: int = 0
    tokens: int = 0
    tokens_left: int = UNLIMITED
    token_limit: int | None = None
    system_places: tuple[str, ...] = ()
    base_messages: int = 0
    base_tokens: int = 0
    foreign: bool = False

    @classmethod
    def new(cls, session: Session) -> Activity:
        limit = hard_limit(session.token_budget)
        return cls(
            status=session.status,
            expires_at=session.expires_at,
            tokens_left=UNLIMITED if limit is None else limit,
            token_limit=limit,
        )

    @classmethod
    def of(cls, item: Item) -> Activity:
        limit = item.get("tokenLimit")
        return cls(
            status=string(item, "status") or "active",
            expires_at=time_of(item.get("expiresAt")),
            last_place=string(item, "lastKey") or keys.NO_MESSAGE,
            last_activity_at=string(item, "lastActivityAt"),
            messages=integer(item, "messageCount"),
            tokens=integer(item, "tokenCount"),
            tokens_left=integer(item, "tokensLeft", UNLIMITED),
            token_limit=None if limit is None else int(limit["N"]),
            system_places=tuple(sorted(item.get("systemIds", {}).get("SS", ()))),
            base_messages=integer(item, "baseMessages"),
            base_tokens=integer(item, "baseTokens"),
            foreign="foreign" in item,
        )

    def item(self, keys_: Keys, session_id: str) -> Item:
        optional: dict[str, Value | None] = {
            "expiresAt": None if self.expires_at is None else seconds(self.expires_at),
            "lastActivityAt": None if self.last_activity_at is None else text(self.last_activity_at),
            "tokenLimit": None if self.token_limit is None else number(self.token_limit),
            "systemIds": texts(self.system_places) if self.system_places else None,
            "baseMessages": number(self.base_messages) if self.base_messages else None,
            "baseTokens": number(self.base_tokens) if self.base_tokens else None,
            "foreign": flag() if self.foreign else None,
        }
        return {
            **activity_key(keys_, session_id),
            "status": text(self.status),
            "lastKey": text(self.last_place),
            "messageCount": number(self.messages),
            "tokenCount": number(self.tokens),
            "tokensLeft": number(self.tokens_left),
            **{attribute: value for attribute, value in optional.items() if value is not None},
        }


def is_gone(activity: Item, now: datetime) -> bool:
    """Whether no call may see the session of this activity item."""
    return string(activity, "status") == DELETING or is_past(time_of(activity.get("expiresAt")), now)


def is_past(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now


def hard_limit(budget: TokenBudget | None) -> int | None:
    return None if budget is None else budget.hard_limit


def split(items: Iterable[Item]) -> dict[str, Item]:
    """The items of one partition by their sort key."""
    return {item["SK"]["S"]: item for item in items}
