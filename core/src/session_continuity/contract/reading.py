"""Reads that consist of several calls of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.paging import MAX_PAGE, Page, collect
from session_continuity.contract.queries import MessageQuery
from session_continuity.contract.results import ConversationPage
from session_continuity.errors import SessionNotFoundError
from session_continuity.models import Message

__all__ = ["conversation_of", "messages_with_ids"]


async def conversation_of(storage: StorageAdapter, session_id: str, query: MessageQuery) -> ConversationPage:
    """The result of `get_conversation`, from a store's other methods, one after the other."""
    session = await storage.get_session(session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    page = await storage.get_messages(session_id, query)
    shown = {message.id for message in page}
    missing = [message_id for message_id in session.system_message_ids if message_id not in shown]
    system = tuple(await messages_with_ids(storage, session_id, missing))
    return ConversationPage(session=session, messages=page, system_messages=system)


async def messages_with_ids(storage: StorageAdapter, session_id: str, ids: Sequence[str]) -> list[Message]:
    """Those of these messages that exist. `ids` are in the order of the conversation, and so is the result."""
    found: list[Message] = []
    for start in range(0, len(ids), MAX_PAGE):
        found += await _read_all(storage, session_id, frozenset(ids[start : start + MAX_PAGE]))
    return found


async def _read_all(storage: StorageAdapter, session_id: str, ids: frozenset[str]) -> Page[Message]:
    async def fetch(limit: int, cursor: str | None) -> Page[Message]:
        return await storage.get_messages(session_id, MessageQuery(ids=ids, limit=limit), cursor=cursor)

    return await collect(fetch, None, None)
