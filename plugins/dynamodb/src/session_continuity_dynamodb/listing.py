"""Listings: pages over the indexes, merged from several ranges where one answer lies in several.

An index row shows a session as META stands, without totals, in the one request that found it. With `listing=exact`
each page is read on from the activity items: totals are right, and a session that is gone is never shown although an
index lags. Rows of an index that is projected without the fields are read on from META either way.
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
    ValidationError,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from session_continuity_dynamodb import codec, keys, system
from session_continuity_dynamodb.activity import DELETING, Activity, is_past
from session_continuity_dynamodb.expressions import Expression
from session_continuity_dynamodb.store import Store
from session_continuity_dynamodb.values import Item, text, time_of

_LARGEST_REQUEST = 300


@dataclass(frozen=True)
class _Range:
    """Rows of one index partition whose sort keys lie between two texts, both included; `prefix` comes before what
    ranges of one phase are merged by."""

    index: str
    partition: str
    prefix: str
    low: str
    high: str

    def suffix(self, row: Item) -> str:
        found: str = row[f"{self.index}SK"]["S"][len(self.prefix) :]
        return found

    def query(self) -> dict[str, Any]:
        expression = Expression()
        within = expression.compare(f"{self.index}PK", "=", text(self.partition))
        between = expression.between(f"{self.index}SK", text(self.low), text(self.high))
        return {
            "IndexName": self.index,
            "KeyConditionExpression": f"{within} AND {between}",
            **expression.params(),
        }

    def key(self, partition: str, sort: str, suffix: str) -> Item:
        """The key of a row, there or not, after which to go on."""
        index_keys = {f"{self.index}PK": text(self.partition), f"{self.index}SK": text(self.prefix + suffix)}
        return {"PK": text(partition), "SK": text(sort), **index_keys}


@dataclass
class _Cursor:
    """Where one range is being read."""

    range: _Range
    start: Item | None
    rows: list[Item] = field(default_factory=list[Item])
    ended: bool = False


Phase = Sequence[_Range]
Position = tuple[int, str, str]
"""A phase, and the suffix of the sort key and the session id of the last row that was looked at."""

Found = tuple[Position, Item]


class _Walk:
    """Rows of several phases, one after the other; within a phase its ranges are merged by what follows the prefix,
    so that one position tells each of them where to go on, also for a row that moved from one to another."""

    def __init__(self, store: Store, phases: Sequence[Phase], sort: str, *, newest_first: bool) -> None:
        self._store = store
        self._phases = phases
        self._sort = sort
        self._newest_first = newest_first

    async def rows(self, position: Position | None, count: int) -> tuple[list[Found], bool]:
        """Up to `count` rows after the position, and whether the end was seen."""
        phase, suffix, session_id = position or (0, "", "")
        found: list[Found] = []
        while phase < len(self._phases):
            cursors = [_Cursor(each, self._start(each, suffix, session_id)) for each in self._phases[phase]]
            found += await self._merged(phase, cursors, count - len(found))
            if len(found) >= count:
                return found, False
            phase, suffix, session_id = phase + 1, "", ""
        return found, True

    def _start(self, each: _Range, suffix: str, session_id: str) -> Item | None:
        return each.key(self._store.keys.partition(session_id), self._sort, suffix) if session_id else None

    async def _merged(self, phase: int, cursors: list[_Cursor], count: int) -> list[Found]:
        await self._store.wire.gather([partial(self._fill, cursor, count) for cursor in cursors])
        found: list[Found] = []
        while len(found) < count and (ready := [cursor for cursor in cursors if cursor.rows]):
            cursor = (max if self._newest_first else min)(ready, key=self._order)
            row = cursor.rows.pop(0)
            session_id = self._store.keys.session_id(row["PK"]["S"])
            if session_id is not None:
                found.append(((phase, cursor.range.suffix(row), session_id), row))
            if not cursor.rows:
                await self._fill(cursor, count - len(found))
        return found

    @staticmethod
    def _order(cursor: _Cursor) -> tuple[str, str]:
        return cursor.range.suffix(cursor.rows[0]), cursor.rows[0]["PK"]["S"]

    async def _fill(self, cursor: _Cursor, count: int) -> None:
        while not cursor.rows and not cursor.ended and count > 0:
            params = {"ScanIndexForward": not self._newest_first, **cursor.range.query()}
            if cursor.start is not None:
                params["ExclusiveStartKey"] = cursor.start
            cursor.rows, cursor.start = await self._store.wire.query(params, limit=min(count, _LARGEST_REQUEST))
            cursor.ended = cursor.start is None


async def list_sessions(store: Store, wanted: SessionFilter, limit: int, cursor: str | None) -> Page[Session]:
    check_limit(limit)
    bound_to = wanted.key()
    if wanted.user_id is None and wanted.active_agent_id is None:
        return await _scan(store, wanted, limit, cursor, bound_to)
    walk = _Walk(store, _phases(store, wanted), keys.META, newest_first=True)
    position = None if cursor is None else _position(cursor, bound_to)
    found: list[Session] = []
    last = position
    while True:
        rows, ended = await walk.rows(position, limit - len(found) + 1)
        sessions = await _shown(store, [row for _, row in rows])
        for (place, _), session in zip(rows, sessions, strict=True):
            if session is not None and wanted.matches(session):
                if len(found) == limit:
                    return Page(tuple(found), encode_cursor(last, bound_to=bound_to))
                found.append(session)
            last = position = place
        if ended:
            return Page(tuple(found))


def _phases(store: Store, wanted: SessionFilter) -> list[Phase]:
    after = "" if wanted.created_after is None else keys.after_time(wanted.created_after)
    before = "~" if wanted.created_before is None else keys.until_time(wanted.created_before)
    if wanted.user_id is not None:
        prefix = "CREATED_AT#"
        return [[_Range("GSI1", store.keys.user(wanted.user_id), prefix, prefix + after, prefix + before)]]
    agent = store.keys.agent(wanted.active_agent_id or "")
    statuses = keys.STATUSES if wanted.status is None else (wanted.status,)
    prefixes = [f"STATUS#{status}" for status in statuses]
    if wanted.status is not None and not after:
        return [[_Range("GSI2", agent, prefix, prefix, f"{prefix}#{before}") for prefix in prefixes]]
    dated = [_Range("GSI2", agent, f"{prefix}#", f"{prefix}#{after}", f"{prefix}#{before}") for prefix in prefixes]
    # Rows of another writer tell no time in their key; they come last.
    return [dated, *([_Range("GSI2", agent, prefix, prefix, prefix)] for prefix in prefixes)]


def _position(cursor: str, bound_to: str) -> Position:
    phase, suffix, session_id = decode_cursor(cursor, bound_to=bound_to, form=tuple[int, str, str])
    if phase < 0 or not session_id:
        raise ValidationError("the cursor is malformed; pass a page's next_cursor unchanged, or none")
    return phase, suffix, session_id


async def _shown(store: Store, rows: list[Item]) -> list[Session | None]:
    """The sessions that index rows stand for, None for one that is gone."""
    partitions = [row["PK"]["S"] for row in rows]
    wanted = [{"PK": row["PK"], "SK": text(keys.META)} for row in rows if not _is_whole(row)]
    if store.options.listing == "exact":
        wanted += [{"PK": row["PK"], "SK": text(keys.ACTIVITY)} for row in rows]
    read = {(item["PK"]["S"], item["SK"]["S"]): item for item in await store.wire.get_all(wanted)}
    activities = await _activities(store, [item for item in read.values() if item["SK"]["S"] == keys.ACTIVITY])
    sessions: list[Session | None] = []
    for partition, row in zip(partitions, rows, strict=True):
        meta = row if _is_whole(row) else read.get((partition, keys.META))
        sessions.append(_session(store, meta, read.get((partition, keys.ACTIVITY)), activities.get(partition)))
    return sessions


async def _activities(store: Store, items: Sequence[Item]) -> dict[str, Activity]:
    """What the activity items of sessions that are there tell, by partition; few need requests of their own."""
    told = {item["PK"]["S"]: Activity.of(item) for item in items if system.IN_ROWS not in item}
    others = [item for item in items if system.IN_ROWS in item]
    read = await store.wire.gather([partial(_activity, store, item) for item in others])
    return told | {
        item["PK"]["S"]: activity for item, activity in zip(others, read, strict=True) if activity is not None
    }


async def _activity(store: Store, item: Item) -> Activity | None:
    try:
        return await system.activity_of(store, item)
    except SessionNotFoundError:
        return None


def _is_whole(row: Item) -> bool:
    """Whether the index projects the session, and not only its keys or some of it."""
    return row.keys() >= codec.LOOKS_WHOLE


def _session(store: Store, meta: Item | None, item: Item | None, activity: Activity | None) -> Session | None:
    if meta is None or not store.is_live(meta, item):
        return None
    if activity is None and "adopted" in meta and store.options.listing == "exact":
        return None
    return codec.session_of(meta, activity)


async def _scan(store: Store, wanted: SessionFilter, limit: int, cursor: str | None, bound_to: str) -> Page[Session]:
    """A listing of everybody's sessions reads the whole table for each page: there is no index over all of them."""
    below = None if cursor is None else _position(cursor, bound_to)[1:]
    segments = await store.wire.gather(
        [partial(_segment, store, wanted, below, limit + 1, number) for number in range(_SEGMENTS)]
    )
    newest = heapq.nlargest(limit + 1, (entry for segment in segments for entry in segment), key=_age)
    shown = await _shown(store, [row for _, row in newest[:limit]])
    more = None
    if len(newest) > limit:
        created_at, session_id = _age(newest[limit - 1])
        more = encode_cursor((0, created_at, session_id), bound_to=bound_to)
    return Page(tuple(session for session in shown if session is not None), more)


_SEGMENTS = 4

Aged = tuple[tuple[str, str], Item]


def _age(entry: Aged) -> tuple[str, str]:
    return entry[0]


async def _segment(
    store: Store, wanted: SessionFilter, below: tuple[str, str] | None, most: int, number: int
) -> list[Aged]:
    """The newest sessions of one part of the table that match and are older than `below`."""
    expression = Expression()
    condition = (
        f"{expression.compare('SK', '=', text(keys.META))} AND begins_with({expression.name('PK')}, "
        f"{expression.value(text(store.keys.partition('')))}) AND {expression.exists('id')}"
    )
    params: dict[str, Any] = {
        "FilterExpression": condition,
        "Segment": number,
        "TotalSegments": _SEGMENTS,
        "ConsistentRead": store.wire.consistent,
        **expression.params(),
    }
    newest: list[Aged] = []
    while True:
        answer = await store.wire.request("Scan", params)
        for row in answer.get("Items", []):
            session = codec.session_of(row, None) if store.is_live(row, None) else None
            if session is not None and wanted.matches(session):
                age = (row["createdAt"]["S"], session.id)
                if below is None or age < below:
                    newest.append((age, row))
        newest = heapq.nlargest(most, newest, key=_age)
        following = answer.get("LastEvaluatedKey")
        if not following:
            return newest
        params["ExclusiveStartKey"] = following


async def get_expired_sessions(store: Store, before: datetime, limit: int, cursor: str | None) -> Page[str]:
    check_limit(limit)
    position = None if cursor is None else _position(cursor, _EXPIRED)
    # A place to go on from must lie within the range, also where `before` is now an earlier one.
    high = max(keys.hour(before) + "$", position[1] if position else "")
    shards = [_Range("GSI1", store.keys.expires(shard), "", "-", high) for shard in range(keys.SHARDS)]
    walk = _Walk(store, [shards], keys.EXPIRY, newest_first=False)
    found: list[str] = []
    last = position
    while True:
        rows, ended = await walk.rows(position, limit - len(found) + 1)
        past = await _past(store, [place[2] for place, _ in rows], before)
        for place, _ in rows:
            if place[2] in past:
                if len(found) == limit:
                    return Page(tuple(found), encode_cursor(last, bound_to=_EXPIRED))
                found.append(place[2])
            last = position = place
        if ended:
            return Page(tuple(found))


_EXPIRED = "expired"


async def _past(store: Store, session_ids: list[str], before: datetime) -> set[str]:
    """Those that have expired by then, are being deleted, or have left nothing but some rows."""
    heads = await store.wire.get_all(
        [key for session_id in session_ids for key in (store.meta_key(session_id), store.activity_key(session_id))]
    )
    held = {(item["PK"]["S"], item["SK"]["S"]): item for item in heads}
    past: set[str] = set()
    for session_id in session_ids:
        partition = store.keys.partition(session_id)
        meta, activity = held.get((partition, keys.META)), held.get((partition, keys.ACTIVITY))
        head = meta or activity
        if head is None or DELETING in head or is_past(time_of(head.get("expiresAt")), before):
            past.add(session_id)
    return past
