"""Listings: pages over the indexes, merged from several ranges where one answer lies in several.

An index row shows a session as META is, without totals, in the request that found it. With `listing=exact` the counters
of each page are read too: totals are right, and a session that is gone is never shown because an index lags. For an
index that does not project the fields, META is read either way.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from session_continuity import (
    Page,
    Session,
    SessionFilter,
    SessionNotFoundError,
    UnreadableError,
    ValidationError,
    decode_cursor,
    encode_cursor,
)
from session_continuity_dynamodb.items import keys, names
from session_continuity_dynamodb.items.counters import Counters, is_past
from session_continuity_dynamodb.items.places import after_time, until_time
from session_continuity_dynamodb.items.session_codec import IS_WHOLE, session_id_of, session_of
from session_continuity_dynamodb.items.values import Item, expiry_of, string
from session_continuity_dynamodb.operations.context import TableContext
from session_continuity_dynamodb.operations.session_counters import load_session
from session_continuity_dynamodb.operations.session_heads import are_of_one_moment, is_live, read_heads
from session_continuity_dynamodb.requests.batches import get_items
from session_continuity_dynamodb.requests.expressions import Expression
from session_continuity_dynamodb.requests.pages import Pages, query

_LARGEST_REQUEST = 300
_SEGMENTS = 4
_EXPIRED = "expired"
"""What cursors of expired sessions are bound to."""


@dataclass(frozen=True)
class _Range:
    """Rows of one index partition whose sort keys lie between two texts, both included.

    `prefix` is the part of the sort keys that does not count when ranges are merged.
    """

    index: str
    partition: str
    prefix: str
    low: str
    high: str

    def suffix(self, row: Item) -> str:
        """The part of a row's sort key by which ranges are merged."""
        sort: str = row[keys.index_keys(self.index)[1]]["S"]
        return sort[len(self.prefix) :]

    def query(self, *, newest_first: bool) -> dict[str, Any]:
        """The parameters of a Query for the rows."""
        return query(self.partition, self.low, self.high, index=self.index, newest_first=newest_first)

    def key(self, partition: str, sort: str, suffix: str) -> Item:
        """The key of a row, whether it exists or not, after which to continue."""
        partition_name, sort_name = keys.index_keys(self.index)
        return {
            names.PARTITION_KEY: {"S": partition},
            names.SORT_KEY: {"S": sort},
            partition_name: {"S": self.partition},
            sort_name: {"S": self.prefix + suffix},
        }


@dataclass
class _Reader:
    """One range while it is being read: its pages, and the rows of the last page that are not used yet."""

    range: _Range
    pages: Pages
    rows: list[Item] = field(default_factory=list[Item])

    async def fill(self, count: int) -> None:
        """Read until there are rows or the range ends."""
        self.pages.limit = min(count, _LARGEST_REQUEST)
        while count > 0 and not self.rows and not self.pages.ended:
            self.rows = await anext(self.pages)

    def place(self) -> tuple[str, str]:
        """Where the next row belongs among the rows of other ranges."""
        return self.range.suffix(self.rows[0]), self.rows[0][names.PARTITION_KEY]["S"]


Phase = Sequence[_Range]
Position = tuple[int, str, str]
"""A phase, and the suffix of the sort key and the session id of the last row that was looked at."""

Found = tuple[Position, Item]


class _Walk:
    """Rows of several phases, one phase after the other.

    Within a phase the ranges are merged by suffix. So one position tells each of them where to continue, and a row that
    moves from one range to another between two pages is met once.
    """

    def __init__(self, context: TableContext, phases: Sequence[Phase], sort: str, *, newest_first: bool) -> None:
        self._context = context
        self._phases = phases
        self._sort = sort
        self._newest_first = newest_first

    async def rows(self, position: Position | None, count: int) -> tuple[list[Found], bool]:
        """Up to `count` rows after the position, and whether these are the last ones."""
        phase, suffix, session_id = position or (0, "", "")
        found: list[Found] = []
        while phase < len(self._phases):
            readers = [self._reader(range_, suffix, session_id) for range_ in self._phases[phase]]
            found += await self._merge(phase, readers, count - len(found))
            if len(found) >= count:
                return found, False
            phase, suffix, session_id = phase + 1, "", ""
        return found, True

    def _reader(self, range_: _Range, suffix: str, session_id: str) -> _Reader:
        partition = self._context.keys.partition(session_id)
        start = range_.key(partition, self._sort, suffix) if session_id else None
        return _Reader(range_, Pages(self._context.sender, range_.query(newest_first=self._newest_first), start=start))

    async def _merge(self, phase: int, readers: list[_Reader], count: int) -> list[Found]:
        await self._context.sender.gather([partial(reader.fill, count) for reader in readers])
        found: list[Found] = []
        first = max if self._newest_first else min
        while len(found) < count and (ready := [reader for reader in readers if reader.rows]):
            reader = first(ready, key=_Reader.place)
            row = reader.rows.pop(0)
            session_id = self._context.keys.session_id(row[names.PARTITION_KEY]["S"])
            if session_id is not None:
                found.append(((phase, reader.range.suffix(row), session_id), row))
            if not reader.rows:
                await reader.fill(count - len(found))
        return found


async def list_sessions(context: TableContext, wanted: SessionFilter, limit: int, cursor: str | None) -> Page[Session]:
    """A page of sessions, see the contract."""
    bound_to = wanted.key()
    if wanted.user_id is None and wanted.active_agent_id is None:
        return await _scan(context, wanted, limit, cursor, bound_to)
    walk = _Walk(context, _phases(context, wanted), keys.META, newest_first=True)
    position = None if cursor is None else _position_in(cursor, bound_to)
    found: list[Session] = []
    unreadable: list[str] = []
    last = position
    while True:
        rows, is_end = await walk.rows(position, limit - len(found) + 1)
        sessions = await _load_sessions(context, [row for _, row in rows])
        # One more than asked for: a cursor is given only if a matching session follows.
        for (place, _), session in zip(rows, sessions, strict=True):
            if isinstance(session, Unreadable):
                unreadable.append(session.id)
            elif session is not None and wanted.matches(session):
                if len(found) == limit:
                    return Page(tuple(found), encode_cursor(last, bound_to=bound_to), tuple(unreadable))
                found.append(session)
            last = position = place
        if is_end:
            return Page(tuple(found), None, tuple(unreadable))


def _phases(context: TableContext, wanted: SessionFilter) -> list[Phase]:
    created_after, created_before = wanted.created_bounds()
    after = "" if created_after is None else after_time(created_after)
    before = "~" if created_before is None else until_time(created_before)
    if wanted.user_id is not None:
        prefix = "CREATED_AT#"
        user = context.keys.user(wanted.user_id)
        return [[_Range(keys.USER_INDEX, user, prefix, prefix + after, prefix + before)]]
    agent = context.keys.agent(wanted.active_agent_id or "")
    statuses = keys.STATUSES if wanted.status is None else (wanted.status,)
    prefixes = [f"STATUS#{status}" for status in statuses]
    if wanted.status is not None and not after:
        return [[_Range(keys.AGENT_INDEX, agent, prefix, prefix, f"{prefix}#{before}") for prefix in prefixes]]
    dated = [
        _Range(keys.AGENT_INDEX, agent, f"{prefix}#", f"{prefix}#{after}", f"{prefix}#{before}") for prefix in prefixes
    ]
    # Rows of the TypeScript kit have no time in this key. They come last.
    return [dated, *([_Range(keys.AGENT_INDEX, agent, prefix, prefix, prefix)] for prefix in prefixes)]


def _position_in(cursor: str, bound_to: str) -> Position:
    phase, suffix, session_id = decode_cursor(cursor, bound_to=bound_to, form=tuple[int, str, str])
    if phase < 0 or not session_id:
        raise ValidationError("the cursor is malformed; pass a page's next_cursor unchanged, or none")
    return phase, suffix, session_id


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in a listing for a session that cannot be read."""

    id: str


async def _load_sessions(context: TableContext, rows: list[Item]) -> list[Session | Unreadable | None]:
    """The sessions of index rows, None for one that is gone."""
    partitions = [row[names.PARTITION_KEY]["S"] for row in rows]
    wanted = [_head_key(row, keys.META) for row in rows if not _is_whole(row)]
    if context.options.listing == "exact":
        wanted += [_head_key(row, keys.COUNTERS) for row in rows]
    heads = _by_key(await get_items(context.sender, wanted)) if wanted else {}
    pairs = [
        (row if _is_whole(row) else heads.get((partition, keys.META)), heads.get((partition, keys.COUNTERS)))
        for partition, row in zip(partitions, rows, strict=True)
    ]
    again = {  # few
        number: (meta, counters)
        for number, (meta, counters) in enumerate(pairs)
        if meta is not None and _is_read_again(context, meta, counters)
    }
    loaded = await context.sender.gather([partial(_load_again, context, *pair) for pair in again.values()])
    reloaded = dict(zip(again, loaded, strict=True))
    return [reloaded[number] if number in reloaded else _session(context, *pair) for number, pair in enumerate(pairs)]


def _head_key(row: Item, sort: str) -> Item:
    return {names.PARTITION_KEY: row[names.PARTITION_KEY], names.SORT_KEY: {"S": sort}}


def _by_key(items: Sequence[Item]) -> dict[tuple[str, str], Item]:
    return {(item[names.PARTITION_KEY]["S"], item[names.SORT_KEY]["S"]): item for item in items}


def _is_whole(row: Item) -> bool:
    """Whether the index projects all of the session."""
    return row.keys() >= IS_WHOLE


def _is_read_again(context: TableContext, meta: Item, counters: Item | None) -> bool:
    """Whether these heads are of two moments, for which an index that lags is enough, or the totals do not list all
    system messages."""
    if context.options.listing == "index" or not is_live(context, meta, counters):
        return False
    return not are_of_one_moment(meta, counters) or (counters is not None and names.SYSTEM_ROWS in counters)


async def _load_again(context: TableContext, meta: Item, counters: Item | None) -> Session | Unreadable | None:
    """The session with these heads, or with later ones that are of one moment. None if it is gone."""
    name = session_id_of(meta)
    current: Item | None = meta
    if not are_of_one_moment(meta, counters):
        current, counters = await read_heads(context, name)
    if current is None or not is_live(context, current, counters):
        return None
    try:
        return (await load_session(context, current, counters)).session
    except SessionNotFoundError:
        return None
    except UnreadableError:
        return Unreadable(name)


def _session(context: TableContext, meta: Item | None, counters: Item | None) -> Session | Unreadable | None:
    if meta is None or not is_live(context, meta, counters):
        return None
    try:
        return session_of(meta, None if counters is None else Counters.of(counters))
    except UnreadableError:
        return Unreadable(session_id_of(meta))


async def _scan(
    context: TableContext, wanted: SessionFilter, limit: int, cursor: str | None, bound_to: str
) -> Page[Session]:
    """A page of all sessions. It reads the whole table, because no index has all of them."""
    below = None if cursor is None else _position_in(cursor, bound_to)[1:]
    segments = await context.sender.gather(
        [partial(_scan_segment, context, wanted, below, limit + 1, number) for number in range(_SEGMENTS)]
    )
    newest = heapq.nlargest(limit + 1, (entry for segment in segments for entry in segment), key=_age)
    sessions = await _load_sessions(context, [row for _, row in newest[:limit]])
    next_cursor = None
    if len(newest) > limit:
        created_at, session_id = _age(newest[limit - 1])
        next_cursor = encode_cursor((0, created_at, session_id), bound_to=bound_to)
    unreadable = tuple(session.id for session in sessions if isinstance(session, Unreadable))
    return Page(tuple(session for session in sessions if isinstance(session, Session)), next_cursor, unreadable)


Aged = tuple[tuple[str, str], Item]
"""The time of creation and the id of a session, by which listings are sorted, and its META."""


def _age(entry: Aged) -> tuple[str, str]:
    return entry[0]


async def _scan_segment(
    context: TableContext, wanted: SessionFilter, below: tuple[str, str] | None, most: int, number: int
) -> list[Aged]:
    """The newest sessions of one part of the table that match and are older than `below`."""
    newest: list[Aged] = []
    async for rows in Pages(context.sender, _scan_params(context, number), api="Scan"):
        for row in rows:
            session = _session(context, row, None)
            if isinstance(session, Unreadable) or (session is not None and wanted.matches(session)):
                age = (string(row, names.CREATED_AT) or "", session.id)
                if below is None or age < below:
                    newest.append((age, row))
        newest = heapq.nlargest(most, newest, key=_age)
    return newest


def _scan_params(context: TableContext, number: int) -> dict[str, Any]:
    expression = Expression()
    conditions = (
        expression.compare(names.SORT_KEY, "=", keys.META),
        expression.begins_with(names.PARTITION_KEY, context.keys.partition("")),
        expression.exists(names.ID),
    )
    return {
        "Segment": number,
        "TotalSegments": _SEGMENTS,
        "ConsistentRead": context.sender.consistent,
        **expression.params(FilterExpression=" AND ".join(conditions)),
    }


async def get_expired_sessions(context: TableContext, before: datetime, limit: int, cursor: str | None) -> Page[str]:
    """A page of ids of expired sessions, see the contract."""
    position = None if cursor is None else _position_in(cursor, _EXPIRED)
    # DynamoDB refuses to continue after a key outside of the range, also if `before` is an earlier time than before.
    high = max(keys.hour(before) + "$", position[1] if position else "")
    shards = [_Range(keys.USER_INDEX, context.keys.expires(shard), "", "-", high) for shard in range(keys.SHARDS)]
    walk = _Walk(context, [shards], keys.EXPIRY, newest_first=False)
    found: list[str] = []
    last = position
    while True:
        rows, is_end = await walk.rows(position, limit - len(found) + 1)
        expired = await _select_expired(context, [place[2] for place, _ in rows], before)
        for place, _ in rows:
            if place[2] in expired:
                if len(found) == limit:
                    return Page(tuple(found), encode_cursor(last, bound_to=_EXPIRED))
                found.append(place[2])
            last = position = place
        if is_end:
            return Page(tuple(found))


async def _select_expired(context: TableContext, session_ids: list[str], before: datetime) -> set[str]:
    """Those that have expired by then, are being deleted, or of which only other rows are left."""
    wanted = [
        key for session_id in session_ids for key in (context.keys.meta(session_id), context.keys.counters(session_id))
    ]
    heads = _by_key(await get_items(context.sender, wanted))
    expired: set[str] = set()
    for session_id in session_ids:
        partition = context.keys.partition(session_id)
        head = heads.get((partition, keys.META)) or heads.get((partition, keys.COUNTERS))
        if head is None or names.DELETING in head or is_past(expiry_of(head), before):
            expired.add(session_id)
    return expired
