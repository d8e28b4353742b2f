"""`Forks`: copies of sessions."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from session_continuity import (
    Fork,
    MessageNotFoundError,
    Page,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    decode_cursor,
    encode_cursor,
    is_repeated_create,
)
from session_continuity_redis import codec, scripts
from session_continuity_redis.client import Age, Call
from session_continuity_redis.index import ANNOUNCEMENT_LIFE, READ_AT_ONCE, Index
from session_continuity_redis.keys import escape, facts_of, fork_name, id_of
from session_continuity_redis.runner import ScriptRunner, new_token
from session_continuity_redis.scripts import Reply
from session_continuity_redis.sessions import Sessions


class Forks:
    """Forks a session, and lists the forks of one.

    On one server a script copies the messages. On a cluster source and copy may lie on different nodes. There one
    script reads the source, and another writes the whole copy.
    """

    def __init__(self, runner: ScriptRunner, index: Index, sessions: Sessions) -> None:
        self._runner = runner
        self._index = index
        self._sessions = sessions
        self._together = not runner.client.clustered

    async def create(self, source_id: str, session: Session, through_id: str | None) -> Session:
        """Create the session with copies of the source's messages."""
        through = "" if through_id is None else f"={through_id}"
        copy = self._copy_together if self._together else self._copy_apart
        code, values = await copy(source_id, session, through)
        if code == Reply.MISSING:
            raise SessionNotFoundError(source_id)
        if code == Reply.NO_MESSAGE:
            raise MessageNotFoundError(source_id, through_id or "")
        found = codec.read_session(session.id, values[0])
        if code == Reply.EXISTS and not is_repeated_create(found, session):
            raise SessionExistsError(session.id)
        return found

    async def _copy_together(self, source_id: str, session: Session, through: str) -> tuple[int, list[Any]]:
        """Fork in one script. Returns its reply."""
        keys = self._runner.keys
        return await self._runner.send(
            Call(
                scripts.FORK,
                [keys.session(session.id), keys.session(source_id), *keys.with_activity(keys.index_of(session.id))],
                [
                    self._runner.scope(),
                    Age(),
                    new_token(),
                    through,
                    escape(source_id),
                    codec.owner_piece(source_id),
                    codec.owner_piece(session.id),
                    *self._sessions.creation(session, 0),
                ],
            )
        )

    async def _copy_apart(self, source_id: str, session: Session, through: str) -> tuple[int, list[Any]]:
        """Fork in three steps: read the source, announce the copy to the index, write it. Returns the last reply."""
        pieces = (codec.owner_piece(source_id), codec.owner_piece(session.id))
        code, values = await self._runner.run(scripts.FORK_READ, source_id, self._runner.scope(), through, *pieces)
        if code != Reply.OK:
            return code, values
        born, *totals, members = values
        name = fork_name(source_id, born.decode())
        started = time.monotonic()
        announced, is_written = await self._index.announce(session.id, facts_of(session, name))
        creation = self._sessions.creation(session, announced)
        code, values = await self._runner.run(
            scripts.FORK_WRITE,
            session.id,
            self._runner.scope(),
            Age(),
            new_token(),
            *totals,
            len(creation),
            *creation,
            *members,
        )
        if code == Reply.EXISTS:
            existing, generation = codec.read_session(session.id, values[0]), values[1]
            names = [name] if is_repeated_create(existing, session) else []
            replaced = announced if is_written else generation
            await self._index.put(existing, generation, *names, instead_of=replaced, intent=announced)
        elif not is_written or time.monotonic() - started > ANNOUNCEMENT_LIFE:
            await self._index.put(codec.read_session(session.id, values[0]), announced, name, intent=announced)
        return code, values

    async def page(self, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
        """One page of the forks of a session, the oldest first.

        One script reads it on one server. Others read forks after the first hundred, or all where the index has several
        parts.
        """
        bound_to = f"forks {source_id}"
        after = None if cursor is None else decode_cursor(cursor, bound_to=bound_to, form=str)
        find = self._find_together if self._together else self._find_apart
        entries, collected = await find(source_id, after or "", limit)
        ids = [id_of(entry) for entry in entries[:limit]]
        found = await self._index.collect(ids, collected, self._runner.scope_at(None))
        forks = [_fork(found.sessions[name], source_id) for name in ids if name in found.sessions]
        unreadable = tuple(name for name in ids if name in found.unreadable)
        more = encode_cursor(entries[limit - 1], bound_to=bound_to) if len(entries) > limit else None
        return Page(tuple(fork for fork in forks if fork is not None), more, unreadable)

    async def _find_together(self, source_id: str, after: str, limit: int) -> tuple[list[str], Sequence[bytes]]:
        """The entries of up to one fork more than `limit`, and what was read along of the sessions."""
        runner, parts = self._runner, self._runner.keys.index()
        read_along = min(limit, READ_AT_ONCE) if len(parts) == 1 else 0
        sought = (runner.scope_at(None), escape(source_id), after, limit + 1)
        reading = (read_along, *runner.keys.session_parts)
        call = Call(scripts.FORKS, [runner.keys.session(source_id), *parts], (runner.scope(), *sought, *reading))
        code, values = await runner.send(call)
        if code == Reply.MISSING:
            raise SessionNotFoundError(source_id)
        listed, collected = values
        return sorted(json.loads(listed))[: limit + 1], collected

    async def _find_apart(self, source_id: str, after: str, limit: int) -> tuple[list[str], Sequence[bytes]]:
        """`_find_together` on a cluster, where source and index may lie on different nodes. Nothing is read along."""
        _, (born,) = await self._runner.run_on_existing(scripts.BORN, source_id)
        entries = await self._index.named(fork_name(source_id, born.decode()), after, limit + 1)
        return entries, (b"", b"", b"")


def _fork(session: Session, source_id: str) -> Fork | None:
    """The session in the list of its source, None if it is not a fork of this one."""
    origin = session.forked_from
    if origin is None or origin.session_id != source_id:
        return None
    return Fork(session_id=session.id, message_id=origin.message_id, created_at=session.created_at)
