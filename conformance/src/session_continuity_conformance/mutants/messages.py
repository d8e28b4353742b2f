"""Mutants that read, edit or delete messages wrongly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from session_continuity import (
    ConversationPage,
    Message,
    MessageMetadata,
    MessageNotFoundError,
    MessageQuery,
    Page,
    Patch,
    Session,
    SessionNotFoundError,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage


@breaks("SC-MSG-001")
class MissingMessageIsAnError(Model):
    """get_message raises for an id that the session does not have."""

    def get_message(self, session_id: str, message_id: str) -> Message | None:
        found = super().get_message(session_id, message_id)
        if found is None:
            raise MessageNotFoundError(session_id, message_id)
        return found


@breaks("SC-MSG-002", "U45")
class DropsUpdatedAt(Model):
    """update_message does not store updated_at."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        record = {name: value for name, value in patch.set.items() if name != "updated_at"}
        return super().update_message(session_id, message_id, Patch(record, patch.clear))


@breaks("SC-MSG-003")
class EditMovesToTheEnd(Model):
    """An edited message moves to the end of the conversation."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        changed = super().update_message(session_id, message_id, patch)
        record = self.require(session_id)
        record.messages.remove(changed)
        self.add(record, [changed])
        return changed


class _FrozenTotals(Model):
    """Stores totals beside the messages, so they can be wrong."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.wrong: dict[str, dict[str, Any]] = {}

    def freeze(self, session_id: str, *names: str) -> None:
        now = self.require(session_id).session()
        self.wrong.setdefault(session_id, {name: getattr(now, name) for name in names})

    def get_session(self, session_id: str) -> Session | None:
        found = super().get_session(session_id)
        return None if found is None else found.model_copy(update=self.wrong.get(session_id, {}))


@breaks("SC-MSG-004")
class EditForgetsTokens(_FrozenTotals):
    """An edit does not change token_count."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        self.freeze(session_id, "token_count")
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-004")
class EditForgetsSystemIds(_FrozenTotals):
    """An edit of the role does not change system_message_ids."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        self.freeze(session_id, "system_message_ids")
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-005", "U6")
class EditCreatesGhost(Model):
    """update_message of a missing message creates a row."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        record = self.require(session_id)
        if record.find(message_id) is None:
            moment = self.clock()
            self.add(
                record,
                [Message(id=message_id, session_id=session_id, role="user", content="", created_at=moment)],
            )
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-006")
class DeleteForgetsTotals(_FrozenTotals):
    """delete_message does not change the totals."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        self.freeze(session_id, "message_count", "token_count", "system_message_ids")
        return super().delete_message(session_id, message_id)


@breaks("SC-MSG-006", "U12")
class DeleteMissesChosenIds(Model):
    """delete_message returns True and removes nothing when the caller chose the id."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        if message_id == "chosen" and self.require(session_id).find(message_id) is not None:
            return True
        return super().delete_message(session_id, message_id)


@breaks("SC-MSG-007")
class DeleteOfMissingMessageSucceeds(Model):
    """delete_message returns True for a message that was not there."""

    def delete_message(self, session_id: str, message_id: str) -> bool:
        super().delete_message(session_id, message_id)
        return True


@breaks("SC-MSG-008", "U4")
class DeleteAllStopsAfterABatch(Model):
    """delete_all_messages removes the first 25 messages and reports all."""

    def delete_all_messages(self, session_id: str) -> int:
        record = self.require(session_id)
        removed, record.messages = len(record.messages), record.messages[25:]
        return removed


@breaks("SC-MSG-009")
class DeleteAllSetsTotalsToZero(ReferenceStorage):
    """delete_all_messages removes in steps, and then sets the totals to 0 whatever was appended meanwhile."""

    async def delete_all_messages(self, session_id: str) -> int:
        removed = self.work("delete_all_messages", lambda model: model.delete_all_messages(session_id))
        for _ in range(3):
            await self.pause()

        def reset(model: Model) -> None:
            record = model.require(session_id)
            counted = record.messages
            record.messages = [message.model_copy(update={"token_count": None}) for message in counted]

        self.work("delete_all_messages", reset)
        return removed


@breaks("SC-MSG-010", "U16")
class LimitsBeforeRoles(Model):
    """get_messages applies the limit before the roles, and treats a short page as the last."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.roles is None:
            return super().get_messages(session_id, query, cursor=cursor)
        page = super().get_messages(session_id, replace(query, roles=None))
        return Page(tuple(message for message in page if query.selects(message)))


@breaks("SC-MSG-010")
class PagesAreOneShort(Model):
    """get_messages, newest first, reads one row less than the limit and leaves out the oldest of the page."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        if query.order == "desc" and len(page) == query.limit > 1:
            return Page(page.items[:-1], page.next_cursor)
        return page


class _ChangesQuery(Model):
    """Reads with another query."""

    def other(self, query: MessageQuery) -> MessageQuery:
        raise NotImplementedError

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        return super().get_messages(session_id, self.other(query), cursor=cursor)


@breaks("SC-MSG-011", "U16")
class IgnoresTimes(_ChangesQuery):
    """get_messages ignores after and before."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return replace(query, after=None, before=None)


@breaks("SC-MSG-011")
class IncludesTheMoment(Model):
    """before includes the moment itself."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        if query.before is not None:
            query = replace(query, before=query.before.replace(microsecond=query.before.microsecond + 1))
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-MSG-011")
class LeavesTheCalendar(_ChangesQuery):
    """before is turned into the moment before it, which the first moment does not have."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return query if query.before is None else replace(query, before=query.before - timedelta(microseconds=1))


@breaks("SC-MSG-012")
class BoundsFollowTheOrder(_ChangesQuery):
    """after_id means further on in the answer. Newest first, it selects the older messages."""

    def other(self, query: MessageQuery) -> MessageQuery:
        if query.order == "desc":
            return replace(query, after_id=query.before_id, before_id=query.after_id)
        return query


@breaks("SC-MSG-012")
class BoundsCompareIds(Model):
    """after_id and before_id compare ids as text instead of places."""

    def messages_between(self, record: SessionRecord, query: MessageQuery) -> list[Message]:
        super().messages_between(record, query)
        return [
            message
            for message in record.messages
            if (query.after_id is None or message.id > query.after_id)
            and (query.before_id is None or message.id < query.before_id)
        ]


@breaks("SC-MSG-013")
class MissingIdsAreAnError(Model):
    """get_messages by ids fails when one of them does not exist."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        for message_id in query.ids or ():
            if self.require(session_id).find(message_id) is None:
                raise MessageNotFoundError(session_id, message_id)
        return super().get_messages(session_id, query, cursor=cursor)


@breaks("SC-MSG-014")
class BoundsReplaceOtherConditions(_ChangesQuery):
    """With after_id, get_messages forgets the roles."""

    def other(self, query: MessageQuery) -> MessageQuery:
        return replace(query, roles=None) if query.after_id is not None else query


@breaks("SC-MSG-015")
class UnknownBoundIsNoBound(Model):
    """An unknown after_id selects the whole conversation."""

    def messages_between(self, record: SessionRecord, query: MessageQuery) -> list[Message]:
        try:
            return super().messages_between(record, query)
        except MessageNotFoundError:
            return record.messages


@breaks("SC-MSG-016", "U17")
class CannotClearMessageFields(Model):
    """update_message skips the fields that the patch clears."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        return super().update_message(session_id, message_id, Patch(patch.set))


@breaks("SC-MSG-017")
class CounterStartsOver(Model):
    """After delete_all_messages places start again, but the newest known place stays."""

    def add(self, record: SessionRecord, batch: Any) -> None:
        if not record.messages and record.next_place:
            record.next_place = 0
            record.messages = [batch[0]]
        super().add(record, batch)


@breaks("SC-MSG-018")
class LeavesSystemMessagesOut(ReferenceStorage):
    """get_conversation returns the session and the page only."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        return replace(await super().get_conversation(session_id, query), system_messages=())


@breaks("SC-MSG-018")
class ReturnsSystemMessagesTwice(ReferenceStorage):
    """get_conversation returns every system message, also those in the page."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        wanted = frozenset(read.session.system_message_ids)
        return replace(read, system_messages=tuple(await self.get_messages(session_id, MessageQuery(ids=wanted))))


@breaks("SC-MSG-018")
class NewestSystemMessageFirst(ReferenceStorage):
    """get_conversation returns system messages in the order of the page."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        return replace(read, system_messages=read.system_messages[::-1])


@breaks("SC-MSG-019")
class UnknownSummaryIsIgnored(ReferenceStorage):
    """get_conversation ignores an unknown after_id."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        try:
            return await super().get_conversation(session_id, query)
        except MessageNotFoundError:
            return await super().get_conversation(session_id, replace(query, after_id=None, before_id=None))


@breaks("SC-MSG-019")
class MissingConversationIsAMissingMessage(ReferenceStorage):
    """get_conversation of a missing session raises MessageNotFoundError."""

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        try:
            return await super().get_conversation(session_id, query)
        except SessionNotFoundError as missing:
            raise MessageNotFoundError(session_id, "") from missing


@breaks("SC-MSG-020")
class RemembersSystemMessages(ReferenceStorage):
    """get_conversation returns the system messages of its first call again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.remembered: dict[str, ConversationPage] = {}

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        read = await super().get_conversation(session_id, query)
        known = self.remembered.setdefault(session_id, read)
        return replace(read, system_messages=known.system_messages)


@breaks("SC-MSG-021")
class MergeReplacesTheMetadata(Model):
    """A patch that merges replaces the metadata."""

    def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        if patch.merge:
            metadata = MessageMetadata.model_validate({key: item for key, item in patch.merge.items() if item})
            patch = Patch({**patch.set, "metadata": metadata}, patch.clear)
        return super().update_message(session_id, message_id, patch)


@breaks("SC-MSG-021")
class ReadsThenMerges(ReferenceStorage):
    """The metadata is read, merged, and written back later."""

    async def update_message(self, session_id: str, message_id: str, patch: Patch) -> Message:
        current = await self.get_message(session_id, message_id)
        if current is None or not patch.merge:
            return await super().update_message(session_id, message_id, patch)
        await self.pause()
        whole = Patch({**patch.set, "metadata": patch.apply(current).metadata}, patch.clear)
        return await super().update_message(session_id, message_id, whole)
