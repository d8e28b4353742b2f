"""`Gate`: the part of META that decides whether a write is allowed, and that most writes change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from session_continuity import Session
from session_continuity_firestore.documents import names
from session_continuity_firestore.documents.message_codec import Fields
from session_continuity_firestore.documents.session_codec import is_session
from session_continuity_firestore.wire.values import FIRST_MOMENT, Moment, encode, moment_of, moment_value, time_of

NO_PLACE: Final = Moment(FIRST_MOMENT - 1)
"""The place of a session that has not had a message: every message comes after it."""

GATE_FIELDS: Final = (
    names.CREATED_AT,
    names.USER_ID,
    names.STATUS,
    names.VERSION,
    names.TOKEN_BUDGET,
    names.TOKEN_COUNT,
    names.MESSAGE_COUNT,
    names.LAST_ACTIVITY_AT,
    names.EXPIRES_AT,
    names.PLACE,
    names.LAST_ID,
    names.COUNTED,
    names.CREATION_TOKEN,
    names.WRITE_ID,
    names.DELETING_AT,
    names.FORKING,
    names.SLIDING_TTL,
)
"""The fields of META that a gate is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`stamp` is META's `updateTime`: a write on condition of it is refused if anything of META was changed since.

    `born` is META's `createTime`, which distinguishes sessions of one id. `last_id` is None where it is not known.
    `place` is that of the newest message that there ever was.
    """

    stamp: Any
    born: Moment
    user_id: str | None
    status: str
    version: int
    hard_limit: int | None
    tokens: int
    messages: int
    last_activity: Moment
    expires: Moment | None
    place: Moment
    last_id: str | None
    creation_token: str | None
    write_id: str
    is_whole: bool
    forking: str
    slides: bool

    def exists(self, now: datetime, owner: str | None) -> bool:
        """Whether the session is there for this owner, None for any."""
        return self.is_taken(now) and (owner is None or self.user_id == owner)

    def is_taken(self, now: datetime) -> bool:
        """Whether a session has this id: not expired, being deleted or incomplete."""
        return self.is_whole and not self.has_expired(now)

    def has_expired(self, now: datetime) -> bool:
        """Whether the session has expired at this time."""
        return self.expires is not None and self.expires <= moment_of(now)

    def extended(self, places: Sequence[Moment], tokens: int, last_id: str) -> Gate:
        """The gate after messages were appended at these places."""
        return replace(
            self,
            tokens=self.tokens + tokens,
            messages=self.messages + len(places),
            place=places[-1],
            last_activity=max(self.last_activity, _whole_milliseconds(places[-1])),
            last_id=last_id,
        )

    def reduced(self, messages: int, tokens: int, last_id: str | None) -> Gate:
        """The gate after messages were removed."""
        return replace(self, tokens=self.tokens - tokens, messages=self.messages - messages, last_id=last_id)

    def fields(self) -> Fields:
        """The fields of META that messages change."""
        return {
            names.TOKEN_COUNT: encode(max(0, self.tokens)),
            names.MESSAGE_COUNT: encode(max(0, self.messages)),
            names.COUNTED: encode(max(0, self.messages)),
            names.LAST_ACTIVITY_AT: encode(time_of(self.last_activity)),
            names.PLACE: encode(self.place),
            names.LAST_ID: None if self.last_id is None else encode(self.last_id),
        }


def _whole_milliseconds(place: Moment) -> Moment:
    return Moment(place // 1000 * 1000)


def new_gate(session: Session) -> Gate:
    """The gate of a session that is about to be created."""
    budget = session.token_budget
    return Gate(
        stamp=None,
        born=NO_PLACE,
        user_id=session.user_id,
        status=session.status,
        version=session.version,
        hard_limit=None if budget is None else budget.hard_limit,
        tokens=0,
        messages=0,
        last_activity=moment_of(session.last_activity_at),
        expires=None if session.expires_at is None else moment_of(session.expires_at),
        place=NO_PLACE,
        last_id="",
        creation_token=session.creation_token,
        write_id="",
        is_whole=True,
        forking="",
        slides=session.sliding_ttl is not None,
    )


def gate_of(document: Any) -> Gate:
    """The gate of META. What cannot be read counts as absent, so that a damaged session can be deleted."""
    fields = document.fields
    activity = _moment(fields, names.LAST_ACTIVITY_AT) or _moment(fields, names.CREATED_AT) or FIRST_MOMENT
    messages = _number(fields, names.MESSAGE_COUNT) or 0
    place = _number(fields, names.PLACE)
    last_id = fields[names.LAST_ID].string_value if names.LAST_ID in fields else None
    if place is None or _number(fields, names.COUNTED) != messages:  # another program has written messages
        place, last_id = max(place or NO_PLACE, activity), None
    return Gate(
        stamp=document.update_time,
        born=_created(document),
        user_id=_text(fields, names.USER_ID) or None,
        status=_text(fields, names.STATUS) or "active",
        version=max(1, _number(fields, names.VERSION) or 1),
        hard_limit=_hard_limit(fields),
        tokens=_number(fields, names.TOKEN_COUNT) or 0,
        messages=messages,
        last_activity=activity,
        expires=_moment(fields, names.EXPIRES_AT),
        place=Moment(place),
        last_id=last_id,
        creation_token=_text(fields, names.CREATION_TOKEN) or None,
        write_id=_text(fields, names.WRITE_ID),
        is_whole=is_session(document),
        forking=_text(fields, names.FORKING),
        slides=_number(fields, names.SLIDING_TTL) is not None,
    )


def _created(document: Any) -> Moment:
    stamp = document.create_time
    return Moment(int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1000)


def _moment(fields: Any, name: str) -> Moment | None:
    return moment_value(fields[name]) if name in fields else None


def _text(fields: Any, name: str) -> str:
    return fields[name].string_value if name in fields else ""


def _number(fields: Any, name: str) -> int | None:
    if name not in fields:
        return None
    value = fields[name]
    kind = value.WhichOneof("kind")
    if kind == "integer_value":
        return int(value.integer_value)
    return int(value.double_value) if kind == "double_value" else None


def _hard_limit(fields: Any) -> int | None:
    if names.TOKEN_BUDGET not in fields:
        return None
    budget = fields[names.TOKEN_BUDGET].map_value.fields
    most = _number(budget, "maxTokens")
    if most is None or _text(budget, "overflowStrategy") != "error":
        return None
    return most - (_number(budget, "reserveTokens") or 0)
