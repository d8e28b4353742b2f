"""`Forking` creates sessions that begin like others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.queries import MessageQuery
from session_continuity.errors import MessageNotFoundError
from session_continuity.manager.creation import SessionBuilder, SessionFields
from session_continuity.models import CompressionState, ForkedFrom, Session
from session_continuity.runtime.backoff import backoff

__all__ = ["Forking"]

DEADLINE = 10.0  # seconds


class Forking:
    """The forks of one manager's sessions."""

    def __init__(
        self, storage: StorageAdapter, sessions: SessionBuilder, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._storage = storage
        self._sessions = sessions
        self._sleep = sleep

    async def fork(self, source_id: str, at: str | None, new_id: str | None, fields: SessionFields) -> Session:
        """Create a fork and return it. Fields that are not given are the source's.

        Without `at`, the source is read again when its last message is removed meanwhile. Raises MessageNotFoundError
        when that goes on for 10 seconds.
        """
        lost: MessageNotFoundError | None = None
        async for _ in backoff(self._sleep, deadline=DEADLINE):
            try:
                return await self._fork(source_id, at, new_id, fields)
            except MessageNotFoundError as error:
                if at is not None:
                    raise
                lost = error
        assert lost is not None  # backoff makes at least one attempt
        raise lost

    async def _fork(self, source_id: str, at: str | None, new_id: str | None, fields: SessionFields) -> Session:
        found = await self._storage.get_conversation(source_id, MessageQuery(order="desc", limit=1))
        source = found.session
        through_id = at if at is not None else next((message.id for message in found.messages), None)
        more: dict[str, Any] = {
            "handoffs": source.handoffs,
            "compression_state": await self._kept_summary(source, at),
            "forked_from": ForkedFrom(session_id=source_id, message_id=through_id),
        }
        session = self._sessions.build(new_id, _with_defaults(source, fields), **more)
        return await self._storage.fork_session(source_id, session, through_id=through_id)

    async def _kept_summary(self, source: Session, at: str | None) -> CompressionState | None:
        """The source's summary, if the fork has all messages that it covers."""
        state = source.compression_state
        if state is None or at is None or at == state.covered_until:
            return state
        last = await self._storage.get_message(source.id, at)
        if last is None:
            raise MessageNotFoundError(source.id, at)
        return state if last.created_at > state.covered_through else None


def _with_defaults(source: Session, fields: SessionFields) -> SessionFields:
    inherited: SessionFields = {
        "user_id": source.user_id,
        "active_agent_id": source.active_agent_id,
        "metadata": source.metadata,
        "participants": source.participants,
        "token_budget": source.token_budget,
        "compression": source.compression,
        "ttl": source.sliding_ttl,
    }
    return {**inherited, **fields}
