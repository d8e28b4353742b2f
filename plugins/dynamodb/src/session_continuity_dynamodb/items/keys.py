"""Keys: where each item lies, and why the order of keys is the order of the conversation. Pure.

Within a session's partition the sort keys have this order, on which several reads rely:

    EXPIRY < FORK#{time}#{id} < META < MSG#{place} < MSG$ACTIVITY < MSGID#{id} < PART#{set}#{number} < SYSTEM#{place}

See `places` for the place of a message. `MSG$ACTIVITY` is the key of the counters.

`$` is the character after `#`. So a descending read meets the counters just before the newest message, and an
ascending read meets META just before the oldest. No other row lies between them, so the limit of such a read counts
messages alone. The TypeScript kit's `begins_with("MSG#")` matches none of the other rows.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from urllib.parse import quote

from session_continuity import Session, SessionStatus, format_timestamp
from session_continuity_dynamodb.items import names
from session_continuity_dynamodb.items.values import Item, Value

META = "META"
EXPIRY = "EXPIRY"
COUNTERS = "MSG$ACTIVITY"
MESSAGE = "MSG#"
AFTER_MESSAGES = "MSG$"
POINTER = "MSGID#"
PART = "PART#"
FORK = "FORK#"
AFTER_FORKS = "FORK$"
SYSTEM = "SYSTEM#"

_REVISION_LENGTH = 8

USER_INDEX = "GSI1"
"""Sessions by user, and the markers of sessions that expire."""

AGENT_INDEX = "GSI2"
"""Sessions by active agent and status."""

STATUSES: tuple[SessionStatus, ...] = ("active", "paused", "completed", "expired")

SHARDS = 4
"""How many index partitions hold the expiry markers. Another number would make existing markers unreachable."""


def index_keys(index: str) -> tuple[str, str]:
    """The names of an index's partition key and sort key."""
    return index + names.PARTITION_KEY, index + names.SORT_KEY


USER_PARTITION, USER_SORT = index_keys(USER_INDEX)
AGENT_PARTITION, AGENT_SORT = index_keys(AGENT_INDEX)


class Keys:
    """The partition keys of one namespace. Without a namespace they have the formats of the TypeScript kit."""

    def __init__(self, namespace: str = "") -> None:
        self._prefix = f"NS#{quote(namespace, safe='')}#" if namespace else ""

    def partition(self, session_id: str) -> str:
        """The partition of a session."""
        return f"{self._prefix}SESSION#{session_id}"

    def item(self, session_id: str, sort: str) -> Item:
        """The key of an item of a session."""
        return {names.PARTITION_KEY: {"S": self.partition(session_id)}, names.SORT_KEY: {"S": sort}}

    def meta(self, session_id: str) -> Item:
        """The key of a session's META."""
        return self.item(session_id, META)

    def counters(self, session_id: str) -> Item:
        """The key of a session's counters."""
        return self.item(session_id, COUNTERS)

    def session_id(self, partition: str) -> str | None:
        """The session of a partition, or None if the partition belongs to something else."""
        start = f"{self._prefix}SESSION#"
        return partition[len(start) :] if partition.startswith(start) else None

    def user(self, user_id: str) -> str:
        """The partition of a user's sessions, in the user index."""
        return f"{self._prefix}USER#{user_id}"

    def agent(self, agent_id: str) -> str:
        """The partition of an agent's sessions, in the agent index."""
        return f"{self._prefix}AGENT#{agent_id}"

    def expires(self, shard: int) -> str:
        """One of the partitions of expiry markers, in the user index."""
        return f"{self._prefix}EXPIRES#{shard}"

    def shard_of(self, session_id: str) -> str:
        """The partition of a session's expiry marker."""
        return self.expires(hashlib.blake2b(session_id.encode(), digest_size=2).digest()[0] % SHARDS)


def user_sort(session: Session) -> str:
    """The sort key of a session in the user index."""
    return f"CREATED_AT#{format_timestamp(session.created_at)}#{session.id}"


def agent_sort(session: Session, status: SessionStatus) -> str:
    """The sort key of a session in the agent index."""
    return f"STATUS#{status}#{format_timestamp(session.created_at)}#{session.id}"


def expiry_sort(session_id: str, expires_at: datetime) -> str:
    """The sort key of an expiry marker. It holds the hour only, so an expiry that slides within it writes no marker."""
    return f"{hour(expires_at)}#{session_id}"


def hour(moment: datetime) -> str:
    """The hour of a time, as text."""
    return format_timestamp(moment)[:13]


def place_in(item: Item) -> str:
    """The place in the key of a message's item."""
    sort: str = item[names.SORT_KEY]["S"]
    return sort[len(MESSAGE) :]


def part(parts: str, number: int) -> str:
    """The sort key of one part of a set."""
    return f"{PART}{parts}#{number:02}"


def new_write_id() -> str:
    """A random id for one write. It also names the parts of a large message."""
    return uuid.uuid4().hex


def short_revision(write_id: str) -> Value:
    """A revision of the counters that this write leaves, as short as it may be: every append pays for each kilobyte of
    them."""
    return {"S": write_id[:_REVISION_LENGTH]}
