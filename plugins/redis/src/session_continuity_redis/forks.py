"""`Forks`: copies of sessions, on one server. A cluster may keep source and copy on different nodes."""

from __future__ import annotations

import json

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
from session_continuity_redis.index import READ_AT_ONCE, Index
from session_continuity_redis.keys import escape, id_of
from session_continuity_redis.runner import ScriptRunner, new_token
from session_continuity_redis.scripts import Reply
from session_continuity_redis.sessions import Sessions


class Forks:
    """Forks a session, and lists the forks of one."""

    def __init__(self, runner: ScriptRunner, index: Index, sessions: Sessions) -> None:
        self._runner = runner
        self._index = index
        self._sessions = sessions

    async def create(self, source_id: str, session: Session, through_id: str | None) -> Session:
        """Create the session with copies of the source's messages, in one script."""
        keys = self._runner.keys
        reply = await self._runner.send(
            Call(
                scripts.FORK,
                [keys.session(session.id), keys.session(source_id), *keys.with_activity(keys.index_of(session.id))],
                [
                    self._runner.scope(),
                    Age(),
                    new_token(),
                    "" if through_id is None else f"={through_id}",
                    escape(source_id),
                    codec.owner_piece(source_id),
                    codec.owner_piece(session.id),
                    *self._sessions.creation(session, 0),
                ],
            )
        )
        code, values = reply
        if code == Reply.MISSING:
            raise SessionNotFoundError(source_id)
        if code == Reply.NO_MESSAGE:
            raise MessageNotFoundError(source_id, through_id or "")
        found = codec.read_session(session.id, values[-1])
        if code == Reply.EXISTS and not is_repeated_create(found, session):
            raise SessionExistsError(session.id)
        return found

    async def page(self, source_id: str, limit: int, cursor: str | None) -> Page[Fork]:
        """One page of the forks of a session, the oldest first.

        One script reads it. Others read forks after the first hundred, or all where the index has several parts.
        """
        bound_to = f"forks {source_id}"
        after = None if cursor is None else decode_cursor(cursor, bound_to=bound_to, form=str)
        runner, parts = self._runner, self._runner.keys.index()
        read_along = min(limit, READ_AT_ONCE) if len(parts) == 1 else 0
        sought = (runner.scope_at(None), escape(source_id), after or "", limit + 1)
        reading = (read_along, *runner.keys.session_parts)
        call = Call(scripts.FORKS, [runner.keys.session(source_id), *parts], (runner.scope(), *sought, *reading))
        code, values = await runner.send(call)
        if code == Reply.MISSING:
            raise SessionNotFoundError(source_id)
        listed, collected = values
        entries = sorted(json.loads(listed))[: limit + 1]
        ids = [id_of(entry) for entry in entries[:limit]]
        found = await self._index.collect(ids, collected, runner.scope_at(None))
        forks = [_fork(found.sessions[name], source_id) for name in ids if name in found.sessions]
        unreadable = tuple(name for name in ids if name in found.unreadable)
        more = encode_cursor(entries[limit - 1], bound_to=bound_to) if len(entries) > limit else None
        return Page(tuple(fork for fork in forks if fork is not None), more, unreadable)


def _fork(session: Session, source_id: str) -> Fork | None:
    """The session in the list of its source, None if it is not a fork of this one."""
    origin = session.forked_from
    if origin is None or origin.session_id != source_id:
        return None
    return Fork(session_id=session.id, message_id=origin.message_id, created_at=session.created_at)
