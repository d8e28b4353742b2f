"""The counters of a session: the small item that every append changes and checks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from session_continuity import Session, TokenBudget
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.keys import Keys
from session_continuity_dynamodb.items.places import NO_MESSAGE, TIMESTAMP_LENGTH
from session_continuity_dynamodb.items.values import (
    YES,
    Item,
    Value,
    expiry_of,
    integer,
    number,
    seconds,
    string,
    string_set,
)

UNLIMITED = 10**18
"""The tokens left where there is no hard limit, so that one condition serves sessions with and without a limit."""

OPEN_STATUSES = ("active", "paused")


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals and last place of a session, and what an append checks: status, expiry, hard limit.

    `base_messages` and `base_tokens` are the counts that META had when this item was created. `foreign` says that
    there were messages then whose place follows neither from their id nor from a pointer. `system_places` are the
    places of system messages that the item lists, see `operations.system_messages`. `slides` says that the session has
    a `sliding_ttl`.
    """

    status: str
    expires_at: datetime | None
    last_place: str = NO_MESSAGE
    last_activity_at: str | None = None
    messages: int = 0
    tokens: int = 0
    tokens_left: int = UNLIMITED
    token_limit: int | None = None
    system_places: tuple[str, ...] = ()
    base_messages: int = 0
    base_tokens: int = 0
    foreign: bool = False
    slides: bool = False

    @classmethod
    def new(cls, session: Session) -> Self:
        """The counters of a new session."""
        limit = hard_limit(session.token_budget)
        return cls(
            status=session.status,
            expires_at=session.expires_at,
            tokens_left=UNLIMITED if limit is None else limit,
            token_limit=limit,
            slides=session.sliding_ttl is not None,
        )

    def after(
        self, last_place: str, messages: int, tokens: int, system_places: Sequence[str], *, is_foreign: bool = False
    ) -> Self:
        """These counters of a new session after its first messages."""
        return replace(
            self,
            last_place=last_place,
            last_activity_at=last_place[:TIMESTAMP_LENGTH],
            messages=messages,
            tokens=tokens,
            tokens_left=self.tokens_left - tokens,
            system_places=tuple(system_places),
            foreign=is_foreign,
        )

    @classmethod
    def of(cls, item: Item) -> Self:
        """The counters in an item."""
        limit = item.get(names.TOKEN_LIMIT)
        return cls(
            status=string(item, names.STATUS) or "active",
            expires_at=expiry_of(item),
            last_place=string(item, names.LAST_KEY) or NO_MESSAGE,
            last_activity_at=string(item, names.LAST_ACTIVITY_AT),
            messages=integer(item, names.MESSAGE_COUNT),
            tokens=integer(item, names.TOKEN_COUNT),
            tokens_left=integer(item, names.TOKENS_LEFT, UNLIMITED),
            token_limit=None if limit is None else int(limit["N"]),
            system_places=tuple(sorted(item.get(names.SYSTEM_PLACES, {}).get("SS", ()))),
            base_messages=integer(item, names.BASE_MESSAGES),
            base_tokens=integer(item, names.BASE_TOKENS),
            foreign=names.FOREIGN in item,
            slides=names.SLIDES in item,
        )

    def item(self, keys_: Keys, session_id: str) -> Item:
        """The item with these counters."""
        optional: dict[str, Value | None] = {
            names.EXPIRES_AT: None if self.expires_at is None else seconds(self.expires_at),
            names.LAST_ACTIVITY_AT: None if self.last_activity_at is None else {"S": self.last_activity_at},
            names.TOKEN_LIMIT: None if self.token_limit is None else number(self.token_limit),
            names.SYSTEM_PLACES: string_set(self.system_places) if self.system_places else None,
            names.BASE_MESSAGES: number(self.base_messages) if self.base_messages else None,
            names.BASE_TOKENS: number(self.base_tokens) if self.base_tokens else None,
            names.FOREIGN: YES if self.foreign else None,
            names.SLIDES: YES if self.slides else None,
        }
        return {
            # Small, because every append pays for all of this item, two units for each kilobyte.
            **keys_.item(session_id, keys.COUNTERS),
            names.STATUS: {"S": self.status},
            names.LAST_KEY: {"S": self.last_place},
            names.MESSAGE_COUNT: number(self.messages),
            names.TOKEN_COUNT: number(self.tokens),
            names.TOKENS_LEFT: number(self.tokens_left),
            **{attribute: value for attribute, value in optional.items() if value is not None},
        }


def is_gone(counters: Item, now: datetime) -> bool:
    """Whether the session of this counters item has expired or is being deleted."""
    return string(counters, names.STATUS) == names.DELETING or is_past(expiry_of(counters), now)


def is_past(expires_at: datetime | None, now: datetime) -> bool:
    """Whether an expiry has been reached."""
    return expires_at is not None and expires_at <= now


def hard_limit(budget: TokenBudget | None) -> int | None:
    """The most tokens that a session may have, or None."""
    return None if budget is None else budget.hard_limit
