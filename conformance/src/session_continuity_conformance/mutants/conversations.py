"""Mutants whose get_conversation is not what its parts are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from session_continuity import ConversationPage, MessageNotFoundError, MessageQuery, Page, SessionNotFoundError
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-MSG-018")
class LeavesSystemMessagesOut(ReferenceStorage):
    """get_conversation answers session and page only."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return replace(await super().get_conversation(session_id, query), system_messages=())


@breaks("SC-MSG-018")
class SaysSystemMessagesTwice(ReferenceStorage):
    """get_conversation answers every system message, those in the page too."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        wanted = frozenset(read.session.system_message_ids)
        return replace(read, system_messages=tuple(await self.get_messages(session_id, MessageQuery(ids=wanted))))


@breaks("SC-MSG-018")
class NewestSystemMessageFirst(ReferenceStorage):
    """get_conversation answers system messages in the order of the page."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        return replace(read, system_messages=read.system_messages[::-1])


@breaks("SC-MSG-019")
class UnknownFoldIsNoFold(ReferenceStorage):
    """get_conversation takes an unknown after_id for none."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        try:
            return await super().get_conversation(session_id, query)
        except MessageNotFoundError:
            return await super().get_conversation(session_id, replace(query, after_id=None, before_id=None))


@breaks("SC-MSG-019")
class MissingConversationIsAMissingMessage(ReferenceStorage):
    """get_conversation of a missing session says that a message is missing."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        try:
            return await super().get_conversation(session_id, query)
        except SessionNotFoundError as missing:
            raise MessageNotFoundError(session_id, "") from missing


@breaks("SC-MSG-020")
class RemembersSystemMessages(ReferenceStorage):
    """get_conversation keeps the system messages that it once read."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.remembered: dict[str, ConversationPage] = {}

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        known = self.remembered.setdefault(session_id, read)
        return replace(read, system_messages=known.system_messages)


@breaks("SC-PAG-010")
class PageWithoutCursor(ReferenceStorage):
    """get_conversation takes its page for the only one."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        return replace(read, messages=Page(read.messages.items))
