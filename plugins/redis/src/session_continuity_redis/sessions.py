"""`Sessions`: creating, reading, changing and deleting sessions, and what that means for the index."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from session_continuity import (
    ConcurrencyError,
    Patch,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    UnreadableError,
    format_timestamp,
    is_repeated_create,
)
from session_continuity_redis import codec, scripts
from session_continuity_redis.client import Age, Argument
from session_continuity_redis.index import ANNOUNCEMENT_LIFE, ORPHAN_AGE, Index
from session_continuity_redis.keys import escape, facts_of, names_of_change
from session_continuity_redis.listing import Listing
from session_continuity_redis.runner import ScriptRunner, new_token
from session_continuity_redis.scripts import STATUS_CODES, Reply

PRUNE_ONE_IN = 16
PRUNED_AT_ONCE = 50


class Sessions:
    """The operations on single sessions.

    On one server each script writes the index too. On a cluster the index may be on another node, so a creation or a
    change is announced there before, and written afterwards.
    """

    def __init__(self, runner: ScriptRunner, index: Index, listing: Listing) -> None:
        self._runner = runner
        self._index = index
        self._listing = listing
        self._together = not runner.client.clustered

    async def create(self, session: Session) -> Session:
        """Create the session. Returns it as stored."""
        started = time.monotonic()
        announced, is_written = (0, True) if self._together else await self._announce(session)
        code, values = await self._runner.run(
            scripts.CREATE,
            session.id,
            self._runner.scope(),
            Age(),
            new_token(),
            *self.creation(session, announced),
            with_index=self._together,
        )
        if code == Reply.DONE:
            return _created(session) if values[1] or len(values) < 3 else codec.read_session(session.id, values[2])
        if code == Reply.EXISTS:
            existing, generation, is_indexed = codec.read_session(session.id, values[0]), *values[1:]
            if announced or not is_indexed:
                await self._index.put(existing, generation, instead_of=announced or None, intent=announced or None)
            if not is_repeated_create(existing, session):
                raise SessionExistsError(session.id)
            return existing
        generation = int(values[0])
        if announced and (not is_written or time.monotonic() - started > ANNOUNCEMENT_LIFE):
            await self._index.put(session, generation, intent=announced)
        if session.expires_at is not None and generation % PRUNE_ONE_IN == 0:
            # The server has deleted these keys by itself. Without this the index would grow where nobody cleans up.
            grace_over = self._runner.clock() - self._runner.grace
            await self._listing.try_to(self._listing.find_expired, grace_over, PRUNED_AT_ONCE, "")
        return _created(session)

    async def get(self, session_id: str) -> Session | None:
        """The session, None if there is none."""
        found = await self._index.read([session_id], self._runner.scope())
        if session_id in found.unreadable:
            raise UnreadableError(f"session {session_id!r}")
        return found.sessions.get(session_id)

    async def update(self, session_id: str, patch: Patch, expected_version: int | None) -> Session:
        """Change the session, and the index if the change concerns it."""
        change = self.change(session_id, patch)
        if self._together or not concerns_index(change):
            session, generation, is_behind = await self._update(session_id, expected_version, change)
            if is_behind:  # the index was lost
                await self._index.put(session, generation)
            return session
        intent, _ = await self._index.announce(session_id)
        try:
            session, generation, _ = await self._update(session_id, expected_version, change)
        except (SessionNotFoundError, ConcurrencyError):
            await self._listing.try_to(self._index.withdraw, session_id, intent)
            raise
        await self._index.put(session, generation, intent=intent)
        return session

    async def _update(
        self, session_id: str, expected_version: int | None, change: Sequence[Argument]
    ) -> tuple[Session, int, bool]:
        """The session after the change, its generation, and whether the index has to be written."""
        expected = "" if expected_version is None else expected_version
        code, (document, number, *is_behind) = await self._runner.write(
            scripts.UPDATE, session_id, new_token(), expected, *change, with_index=self._together
        )
        session = codec.read_session(session_id, document)
        if code == Reply.CONFLICT:
            raise ConcurrencyError(session_id, expected=expected_version, actual=number, current=session)
        return session, number, bool(is_behind[0])

    async def delete(
        self, session_id: str, expired_before: datetime | None, expected_version: int | None = None
    ) -> bool:
        """Delete the session and its entries in the index, and return whether there was one."""
        code, values = await self._runner.run(
            scripts.DELETE,
            session_id,
            self._runner.scope_at(expired_before),
            Age(),
            new_token(),
            escape(session_id),
            ORPHAN_AGE * 1_000_000,
            "" if expected_version is None else expected_version,
            with_index=self._together,
        )
        if code == Reply.CONFLICT:
            current = codec.read_session(session_id, values[0])
            raise ConcurrencyError(session_id, expected=expected_version, actual=values[1], current=current)
        if code == Reply.KEPT:
            return False
        if code == Reply.MISSING:
            # Entries without a session: a delete was interrupted before it came to them.
            return bool(values[0]) if self._together else await self._index.forget(session_id, None)
        if not self._together:
            await self._index.forget(session_id, int(values[-1]))
        return True

    async def _announce(self, session: Session) -> tuple[int, bool]:
        return await self._index.announce(session.id, facts_of(session))

    def change(self, session_id: str, patch: Patch) -> list[Argument]:
        """The arguments by which a script makes this change."""
        values = {**dict.fromkeys(patch.clear), **patch.set}
        letters, names = names_of_change(values)
        return [
            escape(session_id),
            letters,
            json.dumps(names),
            _number(values, "expires_at", self._runner.key_life),
            STATUS_CODES[values["status"] or "active"] if "status" in values else "",
            _number(values, "expires_at", codec.milliseconds),
            _number(values, "token_budget", lambda budget: "-" if budget.hard_limit is None else budget.hard_limit),
            *codec.fragments(values),
        ]

    def creation(self, session: Session, generation: int) -> list[Argument]:
        """The arguments by which a script creates this session."""
        limit = None if session.token_budget is None else session.token_budget.hard_limit
        return [
            generation,
            escape(session.id),
            facts_of(session) if self._together else "",
            "" if session.expires_at is None else self._runner.key_life(session.expires_at),
            format_timestamp(session.last_activity_at),
            session.version,
            STATUS_CODES[session.status],
            "-" if session.expires_at is None else codec.milliseconds(session.expires_at),
            "-" if limit is None else limit,
            *codec.session_fragments(session),
        ]


def concerns_index(change: Sequence[Argument]) -> bool:
    """Whether a change with these arguments may change the index."""
    return bool(change[1])


def _created(session: Session) -> Session:
    return session.model_copy(update={"message_count": 0, "token_count": 0, "system_message_ids": []})


def _number(values: Mapping[str, Any], name: str, number: Callable[[Any], Argument]) -> Argument:
    """How the update script gets a number: '' leaves it as it is, '-' removes it."""
    if name not in values:
        return ""
    return "-" if values[name] is None else number(values[name])
