"""The activity item: what appends change and check. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from session_continuity import Session, TokenBudget
from session_continuity_dynamodb import keys
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.keys import Keys
from session_continuity_dynamodb.values import Item, Value, flag, integer, number, seconds, string, text, texts, time_of

UNLIMITED = 10**18
"""The tokens left where no hard limit is set, so that one condition serves both cases."""

DELETING = "deleting"
"""The status of an activity item whose session is being deleted, and the attribute of META that says so."""

OPEN_STATUSES = ("active", "paused")


@dataclass(frozen=True, slots=True)
class Activity:
    """What appends change and check: totals, the last place, and the gate copied from META.

    The base counts are those that META held when this item was made; `foreign` says that there are messages then
    whose place neither their id nor a pointer tells. The places of system messages are those that the item lists,
    see `system`.
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
            **keys_.item(session_id, keys.ACTIVITY),
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


def count(expression: Expression, *, messages: int, tokens: int) -> None:
    """The change of the totals by so many messages and tokens, more or less."""
    if messages:
        expression.add("messageCount", number(messages))
    if tokens:
        expression.add("tokenCount", number(tokens))
        expression.add("tokensLeft", number(-tokens))
