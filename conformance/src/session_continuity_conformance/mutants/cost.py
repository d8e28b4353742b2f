"""Mutants that give the right answers at a cost that grows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from session_continuity import (
    Appended,
    ConversationPage,
    Message,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionFilter,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage
from session_continuity_conformance.store_fixture import FAR

PAGE = 10


class _Walking(ReferenceStorage):
    """Can read a conversation from its beginning, page by page."""

    async def walk(self, session_id: str) -> list[Message]:
        found: list[Message] = []
        page = await super().get_messages(session_id, MessageQuery(limit=PAGE))
        while True:
            found += page
            if page.next_cursor is None:
                return found
            page = await super().get_messages(session_id, MessageQuery(limit=PAGE), cursor=page.next_cursor)


@breaks("SC-COST-001", "U26", "U43")
class CountsBeforeItAppends(_Walking):
    """An append reads the conversation first, to know its totals."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        await self.walk(session_id)
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-COST-002", "U26")
class LooksBeforeItAppends(ReferenceStorage):
    """An append reads the session first."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        await self.get_session(session_id)
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-COST-003")
class ReadsForwardsToTheEnd(ReferenceStorage):
    """The newest messages are found by reading all of them in one large answer."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.order == "desc":
            await super().get_messages(session_id, replace(query, order="asc", limit=1000))
        return await super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-COST-004", "U25")
class FindsManyByWalking(_Walking):
    """Messages are searched by their ids through all pages."""

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.ids is not None:
            await self.walk(session_id)
        return await super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-COST-005", "U24")
class FindsOneByWalking(_Walking):
    """A message that is edited is searched through all pages."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        await self.walk(session_id)
        return await super().update_message(session_id, message_id, patch)


@breaks("SC-COST-006")
class CountsInEveryRead(_Walking):
    """get_session reads the messages to count them."""

    async def get_session(self, session_id: str) -> Session | None:
        found = await super().get_session(session_id)
        if found is not None:
            await self.walk(session_id)
        return found


@breaks("SC-COST-007")
class WalksTheConversation(_Walking):
    """get_conversation reads all messages to find the system messages."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        await self.walk(session_id)
        return await super().get_conversation(session_id, query)


@breaks("SC-COST-007")
class AsksOnceMore(ReferenceStorage):
    """get_conversation reads the session once more at first."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        await self.get_session(session_id)
        return await super().get_conversation(session_id, query)


@breaks("SC-COST-008")
class LooksThroughItsRules(ReferenceStorage):
    """An append reads the system messages first, page by page."""

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, client_ids: Collection[str] = (), **terms: Any
    ) -> Appended:
        rules = MessageQuery(roles=frozenset({"system"}), limit=PAGE)
        page = await super().get_messages(session_id, rules)
        while page.next_cursor is not None:
            page = await super().get_messages(session_id, rules, cursor=page.next_cursor)
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)


@breaks("SC-COST-009")
class ListsAllOfTheUser(ReferenceStorage):
    """A page of sessions is cut from a list of all."""

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        await super().list_sessions(filter, limit=1000)
        return await super().list_sessions(filter, limit=limit, cursor=cursor)


@breaks("SC-COST-010")
class LooksAtWhatExpiresLater(ReferenceStorage):
    """Every session that ever expires is looked at."""

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        await super().get_expired_sessions(FAR, limit=1000)
        return await super().get_expired_sessions(before, limit=limit, cursor=cursor)
