"""Mutants that mix up the order of messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from session_continuity import (
    Appended,
    Clock,
    Message,
    MessageQuery,
    Page,
    minted_at,
    move_to,
)
from session_continuity_conformance.mutants.registry import breaks
from session_continuity_conformance.reference.model import Model, SessionRecord
from session_continuity_conformance.reference.storage import ReferenceStorage

Chosen = Collection[str]


@breaks("SC-ORD-001")
class DescIsOnlySortedPages(Model):
    """desc returns the newest page in ascending order."""

    def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        page = super().get_messages(session_id, query, cursor=cursor)
        return Page(page.items[::-1], page.next_cursor) if query.order == "desc" else page


class _Sorted(Model):
    """Sorts the conversation, but not by the order of appends."""

    def sorting(self, message: Message) -> Any:
        raise NotImplementedError

    def add(self, record: SessionRecord, batch: Sequence[Message]) -> None:
        super().add(record, batch)
        record.messages.sort(key=self.sorting)
        record.places = {message.id: place for place, message in enumerate(record.messages)}


@breaks("SC-ORD-002", "U20")
class OrdersByWritersClocks(_Sorted):
    """The conversation is sorted by the writers' times."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        del record, client_ids
        return batch

    def sorting(self, message: Message) -> Any:
        return message.created_at


@breaks("SC-ORD-005", "U20")
class OrdersByIdsWithinAMillisecond(_Sorted):
    """Messages of the same millisecond are sorted by id."""

    def sorting(self, message: Message) -> Any:
        return message.created_at, message.id


@breaks("SC-ORD-003")
class KeepsLateTimes(Model):
    """A batch older than the last message keeps its time."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        del record, client_ids
        return batch


@breaks("SC-ORD-003")
class ForgetsTheTimeWithTheNewest(Model):
    """After the newest message was removed, the store accepts any time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.forgotten: set[str] = set()

    def delete_message(self, session_id: str, message_id: str) -> bool:
        messages = self.require(session_id).messages
        if messages and messages[-1].id == message_id:
            self.forgotten.add(session_id)
        return super().delete_message(session_id, message_id)

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        return batch if record.head.id in self.forgotten else super().move_up(record, batch, client_ids)


@breaks("SC-ORD-004")
class MovedBatchKeepsMintedIds(Model):
    """A batch that gets later times keeps ids with the old time."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        del client_ids
        return super().move_up(record, batch, [message.id for message in batch])


@breaks("SC-ORD-004")
class MovedBatchLosesChosenIds(Model):
    """A batch that gets later times gets new ids in place of the caller's."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        del client_ids
        return super().move_up(record, batch, ())


@breaks("SC-ORD-008")
class AlwaysSetsItsOwnTime(Model):
    """Every batch gets the time of the store."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        moment = max([self.clock(), *(message.created_at for message in record.messages[-1:])])
        return move_to(moment, batch, client_ids=client_ids)


@breaks("SC-ORD-006")
class StoresBatchesMessageByMessage(ReferenceStorage):
    """A batch is stored one message at a time."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        stored: list[Message] = []
        for message in messages:
            stored += (await super().append_messages(session_id, [message], **options)).messages
            await self.pause()
        return Appended(messages=tuple(stored))


@breaks("SC-ORD-007")
class LosesConcurrentAppends(ReferenceStorage):
    """append_messages reads the conversation and writes it back whole."""

    async def append_messages(self, session_id: str, messages: Sequence[Message], **options: Any) -> Appended:
        before = self.work("append_messages", lambda model: list(model.require(session_id).messages))
        await self.pause()

        def write(model: Model) -> Appended:
            model.require(session_id).messages = before
            return model.append_messages(session_id, list(messages), **options)

        return self.work("append_messages", write)


@breaks("SC-ORD-004")
class MintsOnlyWhatLooksMinted(Model):
    """When a batch gets later times, only ids that look minted are minted again."""

    def move_up(self, record: SessionRecord, batch: Sequence[Message], client_ids: Chosen) -> Sequence[Message]:
        odd = {message.id for message in batch if minted_at(message.id) is None}
        return super().move_up(record, batch, {*client_ids, *odd})
