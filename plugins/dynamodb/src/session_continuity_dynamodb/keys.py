"""Keys: where an item lies, and why the order of keys is the order of things. Pure; the only file that builds keys.

Within a session's partition the sort keys lie in this order, which several plans rely on:

    EXPIRY < META < MSG#{place} < MSG$ACTIVITY < MSGID#{id} < PART#{set}#{number} < SYSTEM#{place}

where a message's place is `{created_at}#{id}`.

`$` follows `#`, so the activity item is the first row that a descending read meets before the newest message, and an
ascending read meets META before the oldest. Other rows lie behind everything that such a read reaches, so that it
counts messages alone. The TypeScript kit's `begins_with("MSG#")` sees none of these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from session_continuity import Session, SessionStatus, format_timestamp, minted_at
from session_continuity_dynamodb.values import Item, text

META = "META"
EXPIRY = "EXPIRY"
ACTIVITY = "MSG$ACTIVITY"
MESSAGE = "MSG#"
AFTER_MESSAGES = "MSG$"
POINTER = "MSGID#"
PART = "PART#"
SYSTEM = "SYSTEM#"

NO_MESSAGE = "-"
"""A place before every message's: `-` comes before every digit."""

STATUSES: tuple[SessionStatus, ...] = ("active", "paused", "completed", "expired")

SHARDS = 4
"""Partitions of the index over which expiry markers are spread; a change makes older markers unreachable."""

_MILLISECOND = timedelta(milliseconds=1)
_SORTABLE_ID = re.compile(r"(\d{15})-\d{6}-[0-9a-f-]{36}")


class Keys:
    """The keys of one namespace. The empty one has exactly the formats of the TypeScript kit."""

    def __init__(self, namespace: str = "") -> None:
        self._prefix = f"NS#{quote(namespace, safe='')}#" if namespace else ""

    def partition(self, session_id: str) -> str:
        return f"{self._prefix}SESSION#{session_id}"

    def item(self, session_id: str, sort: str) -> Item:
        """The key of an item of this session."""
        return {"PK": text(self.partition(session_id)), "SK": text(sort)}

    def session_id(self, partition: str) -> str | None:
        """The session that a partition belongs to; None for a partition of something else."""
        start = f"{self._prefix}SESSION#"
        return partition[len(start) :] if partition.startswith(start) else None

    def user(self, user_id: str) -> str:
        return f"{self._prefix}USER#{user_id}"

    def agent(self, agent_id: str) -> str:
        return f"{self._prefix}AGENT#{agent_id}"

    def expires(self, shard: int) -> str:
        return f"{self._prefix}EXPIRES#{shard}"

    def shard_of(self, session_id: str) -> str:
        return self.expires(hashlib.blake2b(session_id.encode(), digest_size=2).digest()[0] % SHARDS)


def user_sort(session: Session) -> str:
    return f"CREATED_AT#{format_timestamp(session.created_at)}#{session.id}"


def agent_sort(session: Session, status: SessionStatus) -> str:
    return f"STATUS#{status}#{format_timestamp(session.created_at)}#{session.id}"


def expiry_sort(session_id: str, expires_at: datetime) -> str:
    """One hour, one place: a session whose expiry slides within the hour keeps its marker."""
    return f"{hour(expires_at)}#{session_id}"


def hour(moment: datetime) -> str:
    return format_timestamp(moment)[:13]


def place(created_at: datetime, message_id: str) -> str:
    """What follows `MSG#` in a message's sort key: text order is conversation order."""
    return f"{format_timestamp(created_at)}#{message_id}"


def place_of(item: Item) -> str:
    """The place of a message's item."""
    found: str = item["SK"]["S"][len(MESSAGE) :]
    return found


def place_time(message_place: str) -> datetime:
    """The `created_at` in a place."""
    return datetime.fromisoformat(message_place[:24])


def place_id(message_place: str) -> str:
    """The message id in a place."""
    return message_place[25:]


def computed_place(message_id: str) -> str | None:
    """The place of a message whose id tells when it was made: ours, and those that the TypeScript kit mints."""
    minted = minted_at(message_id)
    if minted is None and (match := _SORTABLE_ID.fullmatch(message_id)):
        milliseconds = int(match[1])
        minted = datetime.fromtimestamp(milliseconds // 1000, UTC) + milliseconds % 1000 * _MILLISECOND
    return None if minted is None else place(minted, message_id)


def after_time(moment: datetime) -> str:
    """The least text of all times later than `moment`, at the precision of milliseconds."""
    try:
        return format_timestamp(moment.astimezone(UTC) + _MILLISECOND)
    except OverflowError:
        return "~"  # behind every time


def until_time(moment: datetime) -> str:
    """The least text of all times that are not before `moment`."""
    moment = moment.astimezone(UTC)
    return format_timestamp(moment if moment.microsecond % 1000 == 0 else moment + _MILLISECOND)


def part(parts: str, number: int) -> str:
    """The sort key of one part of a set."""
    return f"{PART}{parts}#{number:02}"


def pointers(message_ids: Iterable[str]) -> list[str]:
    return [POINTER + message_id for message_id in message_ids]
