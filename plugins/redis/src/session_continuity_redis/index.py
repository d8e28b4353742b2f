"""`Index`: a namespace's index, which says what sessions a list may hold. The package's docstring has its rules."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from session_continuity import Session, SessionFilter
from session_continuity_redis import scripts
from session_continuity_redis.client import Call, Command, ScriptClient
from session_continuity_redis.codec import not_after, not_before, pack_time, readable_sessions
from session_continuity_redis.keys import Keys, escape, facts_of, id_of, lists_of, merge

ORPHAN_AGE = 120
"""The age in seconds from which an entry without a session is wrong. A younger one may be of a creation that has
announced itself."""

ANNOUNCEMENT_LIFE = ORPHAN_AGE / 2
"""How many seconds after its announcement a creation relies on it, and how many seconds after a look at the sessions an
entry is removed because its session is gone. Both together are less than ORPHAN_AGE, so neither overtakes the other."""

# Limits of one script, for some milliseconds of work: meanwhile every other client of the server waits.
_MAX_ENTRIES = 2000
_MAX_LOOKUPS = 5000
READ_AT_ONCE = 100
_FILLED_AT_ONCE = 500
_SAMPLED = 16
_AFTER_ALL = "\x7f"


class Found:
    """What was found of the sessions of some ids: those that exist, by id, their generations, and the ids of others."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.generations: dict[str, int] = {}
        self.expired: set[str] = set()
        self.gone: set[str] = set()
        self.hidden: set[str] = set()
        self.unreadable: set[str] = set()

    def add(self, ids: Sequence[str], reply: Sequence[bytes]) -> None:
        """Add what a script collected of the sessions of these ids."""
        documents, letters, facts = reply
        existing: list[str] = []
        others = {"x": self.expired, "-": self.gone, "o": self.hidden, "u": self.unreadable}
        for session_id, state in zip(ids, letters.decode(), strict=True):
            if state == "y":
                existing.append(session_id)
            else:
                others[state].add(session_id)
        numbers = [tuple(map(int, fact.split())) for fact in facts.split(b",") if fact]
        sessions = readable_sessions(documents, [size for _, size in numbers])
        for session_id, (generation, _), session in zip(existing, numbers, sessions, strict=True):
            if session is None or session.id != session_id:
                self.unreadable.add(session_id)
            else:
                self.sessions[session_id] = session
                self.generations[session_id] = generation


class Index:
    """The index of one namespace. Every method takes one or two round trips, whatever the number of parts."""

    def __init__(self, client: ScriptClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def announce(self, session_id: str, facts: str = "") -> tuple[int, bool]:
        """Before a session is created with these facts, or changed: announce it by an intent.

        Returns a generation, by which the intent is withdrawn, and whether the entries of a new session were written
        instead. They are not if the index has a row of this id: of another session, or of one that is gone.
        """
        arguments = (escape(session_id), facts)
        call = Call(scripts.INDEX_ANNOUNCE, self._part(session_id), arguments)
        generation, written = await self._client.run(call)
        return int(generation), bool(written)

    async def put(
        self,
        session: Session,
        generation: int,
        *further: str,
        instead_of: int | None = None,
        intent: int | None = None,
    ) -> None:
        """Write the entries of a session at this generation, unless the index has a newer one. Withdraw the intent.

        `further` are names under which it stands beside those that its fields say.
        """
        await self._client.run(self._put(session, generation, _text(instead_of), _text(intent), *further))

    async def withdraw(self, session_id: str, intent: int) -> None:
        """Remove the intent of a change that was not made."""
        member = f"p|{escape(session_id)}|{intent}"
        await self._client.send_all([Command("ZREM", self._keys.index_of(session_id), (member,))])

    async def forget(self, session_id: str, generation: int | None) -> bool:
        """Remove a session's entries, and return whether there were any.

        `generation` is that of the deleted session. None means that no session was found: then the entries must be old
        enough.
        """
        return bool(await self._client.run(self._forget(session_id, generation)))

    async def page(
        self, filter: SessionFilter, after: str | None, limit: int, scope: str, *, is_first: bool
    ) -> tuple[list[str], str | None, Found]:
        """Up to `limit` entries that match as far as the index knows, in order, from the one after `after` on.

        `is_first` says that a listing begins: then the sessions whose change was announced are repaired.
        The second value is the entry after which the next page begins. The third is what was found of the sessions.
        """
        names, conditions = lists_of(filter)
        calls = self._walks(filter, names, conditions, after, limit, scope)
        replies = await self._client.run_all(calls)
        if any(is_incomplete for *_, is_incomplete in replies):
            await self._fill(names[0])
            replies = await self._client.run_all(calls)
        if is_first and (changing := sorted(_changing(replies))):
            # Their entries may be those from before a change, if the writer died between its session and the index.
            await self.repair(changing)
            replies = await self._client.run_all(calls)
        reached = [text.decode() for _, text, *_ in replies if text]
        listed = (json.loads(entries) for entries, *_ in replies)
        entries, horizon = merge(listed, reached, is_downwards=filter.is_downwards)
        following = entries[limit - 1] if len(entries) > limit else horizon
        ids = [id_of(entry) for entry in entries[:limit]]
        # Several walks have read none along.
        return entries[:limit], following, await self.collect(ids, replies[0][2], scope)

    def _walks(
        self,
        filter: SessionFilter,
        names: Sequence[str],
        conditions: Sequence[Sequence[str]],
        after: str | None,
        limit: int,
        scope: str,
    ) -> list[Call]:
        """A call for each list to walk, in each part of the index."""
        bounds = (
            "" if filter.created_after is None else not_after(filter.created_after),
            "" if filter.created_before is None else not_before(filter.created_before),
        )
        lookups_each = sum(map(len, conditions))
        most = min(max(_MAX_ENTRIES, limit + 1), max(1, _MAX_LOOKUPS // max(1, lookups_each)))
        parts = self._keys.index()
        # Several walks find more entries than the page holds, and a cluster has the sessions on other nodes.
        read_along = 0 if self._client.clustered or len(parts) * len(names) > 1 else min(limit, READ_AT_ONCE)
        wanted = (after or "", *bounds, limit + 1, most, json.dumps(conditions))
        reading = (read_along, scope, *self._keys.session_parts)
        return [
            Call(scripts.INDEX_LIST, self._keys.with_activity(key), (filter.order, name, *wanted, *reading))
            for key in parts
            for name in names
        ]

    async def _fill(self, name: str) -> None:
        """Make the sets by activity complete for one list, in pieces."""
        for part in self._keys.index():
            reached: bytes | str | None = ""
            while reached is not None:
                arguments = (name, reached, _FILLED_AT_ONCE, *self._keys.session_parts)
                reached = await self._client.run(Call(scripts.INDEX_FILL, self._keys.with_activity(part), arguments))

    async def expired(self, before: str, after: str, limit: int) -> tuple[list[str], list[str]]:
        """Up to `limit` entries of sessions that expired by `before`, each behind its expiry, the longest expired
        first, from the one after `after` on. The second value is the ids of some sessions at random.

        Looking at those finds what a crash left in the index, even where nobody lists sessions.
        """
        bounds = (f"(x|{after}", f"(x|{before}{_AFTER_ALL}", "LIMIT", 0, limit)
        parts = self._keys.index()
        commands = [Command("ZRANGEBYLEX", key, bounds) for key in parts] + [
            Command("ZRANDMEMBER", key, (_SAMPLED,)) for key in parts
        ]
        replies = [[member.decode() for member in members] for members in await self._client.send_all(commands)]
        listed = sorted(member[2:] for members in replies[: len(parts)] for member in members)[:limit]
        sampled = {member for members in replies[len(parts) :] for member in members if member.startswith("a|")}
        return listed, [id_of(member[2:]) for member in sampled]

    async def named(self, name: str, after: str, limit: int) -> list[str]:
        """Up to `limit` entries that stand under a name, in order, from the one after `after` on."""
        bounds = (f"({name}|{after}", f"({name}|{_AFTER_ALL}", "LIMIT", 0, limit)
        replies = await self._client.send_all([Command("ZRANGEBYLEX", key, bounds) for key in self._keys.index()])
        return sorted(member.decode()[len(name) + 1 :] for members in replies for member in members)[:limit]

    async def collect(self, ids: Sequence[str], replies: Sequence[bytes], scope: str) -> Found:
        """What a script has read along of the first of these sessions, and what is found of the others."""
        found = Found()
        read = len(replies[1])
        found.add(ids[:read], replies)
        if ids[read:]:
            await self._read_into(found, ids[read:], scope)
        return found

    async def read(self, ids: Sequence[str], scope: str) -> Found:
        """Look for these sessions. The scope (of `ScriptRunner`) decides which exist. An empty one hides none."""
        found = Found()
        await self._read_into(found, [*dict.fromkeys(ids)], scope)
        return found

    async def _read_into(self, found: Found, ids: Sequence[str], scope: str) -> None:
        size = 1 if self._client.clustered else READ_AT_ONCE  # on a cluster each key may have a slot of its own
        groups = [ids[start : start + size] for start in range(0, len(ids), size)]
        calls = [Call(scripts.SESSIONS, [self._keys.session(name) for name in group], (scope,)) for group in groups]
        for group, reply in zip(groups, await self._client.run_all(calls), strict=True):
            found.add(group, reply)

    async def repair(self, ids: Sequence[str]) -> None:
        """Make the entries of these sessions what the sessions say."""
        started = time.monotonic()
        found = await self.read(ids, "")
        calls = [self._put(session, found.generations[name], "", "") for name, session in found.sessions.items()]
        if time.monotonic() - started < ANNOUNCEMENT_LIFE:
            calls += [self._forget(session_id, None) for session_id in sorted(found.gone)]
        if calls:
            await self._client.run_all(calls)

    def _part(self, session_id: str) -> list[str]:
        return self._keys.with_activity(self._keys.index_of(session_id))

    def _put(self, session: Session, generation: int, instead_of: int | str, intent: int | str, *further: str) -> Call:
        arguments = (
            escape(session.id),
            generation,
            instead_of,
            facts_of(session, *further),
            intent,
            ORPHAN_AGE * 1_000_000,
            pack_time(session.last_activity_at),
        )
        return Call(scripts.INDEX_PUT, self._part(session.id), arguments)

    def _forget(self, session_id: str, generation: int | None) -> Call:
        which = ("", ORPHAN_AGE * 1_000_000) if generation is None else (generation,)
        return Call(scripts.INDEX_FORGET, self._part(session_id), (escape(session_id), *which))


def _changing(replies: Sequence[Any]) -> set[str]:
    """The ids of the sessions that are announced in the replies of walks."""
    return {unquote(name.decode().split("|")[1]) for reply in replies for name in reply[3]}


def _text(number: int | None) -> int | str:
    return "" if number is None else number
