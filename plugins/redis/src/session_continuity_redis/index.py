"""A namespace's index: which sessions a list names, and how entries that a crash left behind are put right."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from session_continuity import Session, SessionFilter
from session_continuity_redis import scripts
from session_continuity_redis.codec import not_after, not_before, sessions_from, text
from session_continuity_redis.keys import Keys, escaped, facts_of, id_of, merged, names_of
from session_continuity_redis.wire import Call, Command, Wire

SETTLED = 120
"""Seconds after which an entry without a session belongs to no creation that is under way."""

PROMPT = SETTLED / 2
"""Seconds within which a creation follows its announcement, and a removal the look at the session that showed it to be
gone; so neither crosses the other."""

# what a script does in some milliseconds: every other client waits so long
_LOOKED_AT = 2000
_LOOKUPS = 5000
_READ_AT_ONCE = 100
_SAMPLED = 16
_LAST = "\x7f"


@dataclass(frozen=True, slots=True)
class Found:
    """Sessions as read for the index: by id those that exist, the ids of those that have expired, and of those gone."""

    documents: dict[str, str | bytes]
    generations: dict[str, int]
    expired: frozenset[str]
    gone: frozenset[str]

    def sessions(self) -> dict[str, Session]:
        """Those that exist, decoded; who only asks which are gone does not stumble over one that does not read."""
        return dict(zip(self.documents, sessions_from([*self.documents.values()]), strict=True))


class Index:
    """The index of one namespace. Every method is one or two round trips, whatever the number of parts."""

    def __init__(self, wire: Wire, keys: Keys) -> None:
        self._wire = wire
        self._keys = keys

    async def announce(self, session: Session) -> tuple[int, bool]:
        """Write the entries of a session that is about to be created. Answers its generation, and whether they were
        written: they are not when the index has a row of this id, of another session or of one long gone."""
        generation, written = await self._wire.run(self._put(session, "", ""))
        return int(generation), bool(written)

    async def put(self, session: Session, generation: int, *, instead_of: int | None = None) -> None:
        """Write the entries of a session as it is at this generation, unless the index knows a newer one."""
        await self._wire.run(self._put(session, generation, "" if instead_of is None else instead_of))

    async def forget(self, session_id: str, generation: int | None, *further: Call) -> bool:
        """Remove the entries of a session that was deleted at this generation; without one, those of a session found
        gone. Answers whether there were any. Further calls share the round trip."""
        answers = await self._wire.run_all([self._forget(session_id, generation), *further])
        return bool(answers[0])

    async def page(self, filter: SessionFilter, after: str | None, limit: int) -> tuple[list[str], str | None]:
        """Up to `limit` entries that meet the filter as far as the index knows, newest first, from the one after
        `after` on, and the entry after which the next page begins."""
        names, conditions = names_of(filter)
        lower = "" if filter.created_after is None else not_after(filter.created_after) + _LAST
        upper = "" if filter.created_before is None else not_before(filter.created_before)
        at_each = sum(map(len, conditions))
        most = min(max(_LOOKED_AT, limit + 1), max(1, _LOOKUPS // max(1, at_each)))
        bounds = (after or upper, lower, limit + 1, most, json.dumps(conditions))
        answers = await self._wire.run_all(
            [Call(scripts.INDEX_LIST, [key], (name, *bounds)) for key in self._keys.index() for name in names]
        )
        horizon = max((text(reached) for _, reached in answers if reached), default="")
        entries = merged((json.loads(listed) for listed, _ in answers), horizon)
        if len(entries) > limit:
            return entries[:limit], entries[limit - 1]
        return entries, horizon or None

    async def expired(self, before: str, after: str, limit: int) -> tuple[list[str], list[str]]:
        """Up to `limit` entries, each behind its expiry, of sessions that expired by `before`, from the one after
        `after` on, the longest expired first. With them the ids of some sessions at random, to be looked at: so what a
        crash left behind is met at last, also where nobody lists."""
        bounds = (f"(x|{after}", f"(x|{before}{_LAST}", "LIMIT", 0, limit)
        parts = self._keys.index()
        asked = [Command("ZRANGEBYLEX", key, bounds) for key in parts] + [
            Command("ZRANDMEMBER", key, (_SAMPLED,)) for key in parts
        ]
        answers = [[text(member) for member in members] for members in await self._wire.ask_all(asked)]
        listed = sorted(member[2:] for members in answers[: len(parts)] for member in members)[:limit]
        sampled = {member for members in answers[len(parts) :] for member in members if member.startswith("a|")}
        return listed, [id_of(member[2:]) for member in sampled]

    async def read(self, ids: Sequence[str], now: int | None) -> Found:
        """These sessions, those that exist at `now`, in milliseconds, or expired ones too."""
        moment = "" if now is None else now
        ids = [*dict.fromkeys(ids)]
        keys = [self._keys.session(session_id) for session_id in ids]
        size = 1 if self._wire.clustered else _READ_AT_ONCE
        groups = [keys[start : start + size] for start in range(0, len(keys), size)]
        answers = await self._wire.run_all([Call(scripts.SESSIONS, group, (moment,)) for group in groups])
        states = dict(zip(ids, "".join(text(state) for _, state, _ in answers), strict=True))
        existing = [session_id for session_id, state in states.items() if state == "y"]
        documents = [document for listed, _, _ in answers for document in listed]
        generations = [int(number) for _, _, numbers in answers for number in text(numbers).split(",") if number]
        return Found(
            dict(zip(existing, documents, strict=True)),
            dict(zip(existing, generations, strict=True)),
            frozenset(session_id for session_id, state in states.items() if state == "x"),
            frozenset(session_id for session_id, state in states.items() if state == "-"),
        )

    async def heal(self, ids: Sequence[str]) -> None:
        """Put the entries of these sessions right."""
        began = time.monotonic()
        found = await self.read(ids, None)
        right = [self._put(session, found.generations[name], "") for name, session in found.sessions().items()]
        gone = [self._forget(session_id, None) for session_id in sorted(found.gone)]
        calls = right + (gone if time.monotonic() - began < PROMPT else [])
        if calls:
            await self._wire.run_all(calls)

    def _put(self, session: Session, generation: int | str, instead_of: int | str) -> Call:
        arguments = (escaped(session.id), generation, instead_of, facts_of(session))
        return Call(scripts.INDEX_PUT, [self._keys.index_of(session.id)], arguments)

    def _forget(self, session_id: str, generation: int | None) -> Call:
        which = ("", SETTLED * 1_000_000) if generation is None else (generation,)
        return Call(scripts.INDEX_FORGET, [self._keys.index_of(session_id)], (escaped(session_id), *which))
